"""K recurrent classifiers of one shape as one batched network with hand-written gradients. One run alone is K = 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from rnn_sweep.lanes.layout import Layout
from rnn_sweep.lanes.precision import COMPUTE, MASTER, Precision, fast_products
from rnn_sweep.lanes.shard import Shard, make_cell
from rnn_sweep.lanes.workers import Workers
from rnn_sweep.lanes.workspace import row
from rnn_sweep.models.recurrent import ModelSpec


class LaneNetwork:
    """``lanes`` independent classifiers of shape ``spec``; every lane starts with zero parameters.

    Parameters and gradients live in two stacked tensors [K, P]; :meth:`parameters` are views of them, so any
    ``torch.optim`` optimiser steps a lane in place. Gradients are overwritten by every :meth:`forward_backward`: do not
    call ``zero_grad``.

    ``precision``: ``fp32``; ``bf16``, products and activations in bfloat16 with fp32 parameters, gradients, head and
    loss; ``fp64``, for numerical checks.
    """

    def __init__(
        self,
        spec: ModelSpec,
        lanes: int,
        *,
        device: str | torch.device = "cpu",
        precision: Precision = "fp32",
    ) -> None:
        self.spec, self.precision, self.device = spec, precision, torch.device(device)
        self._layout = Layout(spec)
        self._named: list[dict[str, nn.Parameter]] = []
        self._flat: list[nn.Parameter] = []
        self._workers = Workers(1)
        empty = torch.zeros(0, self._layout.size, dtype=MASTER[precision], device=self.device)
        self._store(empty, empty)
        self.add(lanes)

    @property
    def lanes(self) -> int:
        """K, the number of lanes."""
        return len(self._flat)

    @torch.no_grad()
    def load(self, lane: int, state: Mapping[str, Tensor]) -> None:
        """Copy a :class:`RecurrentClassifier`'s ``state_dict`` into ``lane``.

        Raises:
            ValueError: names or shapes differ from those of ``spec``.
        """
        found = {name: tuple(value.shape) for name, value in state.items()}
        if found != self._layout.shapes:
            raise ValueError(f"state must have the shapes {self._layout.shapes}, got {found}")
        for name, parameter in self._named[lane].items():
            parameter.copy_(state[name])

    def state(self, lane: int) -> dict[str, Tensor]:
        """Return copies of ``lane``'s parameters with the names and shapes of the classifier's ``state_dict``."""
        return {name: parameter.detach().clone() for name, parameter in self._named[lane].items()}

    def parameters(self, lane: int) -> list[nn.Parameter]:
        """Return ``lane``'s parameters in ``state_dict`` order: the same objects as long as the lane lives."""
        return list(self._named[lane].values())

    def flat_parameter(self, lane: int) -> nn.Parameter:
        """Return all of ``lane``'s parameters as one vector [P], with its gradient; the same object while the lane lives.

        An elementwise optimiser (SGD, Adam, RMSprop, …) computes the same on it as on :meth:`parameters`, with a sixth of the
        calls. P includes alignment gaps, whose values and gradients are zero.
        """
        return self._flat[lane]

    @torch.no_grad()
    def forward_backward(
        self, x: Tensor, y: Tensor, generators: Sequence[torch.Generator] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Set every lane's gradient to that of its mean cross-entropy over the batch.

        Args:
            x: [T, K, B, I] float, with any strides.
            y: [K, B] int64 in [0, C).
            generators: one per lane, for the dropout masks; needed if the spec has dropout between layers.

        Returns:
            The mean loss [K] and the number of correct answers [K].
        """
        self._pack()
        jobs = [
            partial(
                shard.forward_backward,
                x[:, shard.lanes.start : shard.lanes.stop],
                y[shard.lanes.start : shard.lanes.stop],
                generators,
            )
            for shard in self._shards
        ]
        with fast_products(self.precision == "fp32"):
            results = self._workers.run(jobs)
        self._unpack()
        return torch.cat([loss for loss, _ in results]), torch.cat([correct for _, correct in results])

    @torch.no_grad()
    def evaluate(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate all lanes on the same data, without dropout.

        Args:
            x: [T, N, I] float.
            y: [N] int64.

        Returns:
            The cross-entropy summed over the data [K] and the number of correct answers [K].
        """
        self._pack()
        jobs = [partial(shard.evaluate, x, y) for shard in self._shards]
        with fast_products(self.precision == "fp32"):
            results = self._workers.run(jobs)
        return torch.cat([loss for loss, _ in results]), torch.cat([correct for _, correct in results])

    def grad_norms(self) -> Tensor:
        """Return the 2-norm of each lane's whole gradient, [K]."""
        return torch.linalg.vector_norm(self._gradients, dim=1)

    @torch.no_grad()
    def clip_(self, max_norms: Tensor, norms: Tensor) -> None:
        """Scale each lane's gradient to at most ``max_norms`` [K] (inf: untouched), given its norm ``norms`` [K].

        As ``torch.nn.utils.clip_grad_norm_``, with its 1e-6 in the denominator.
        """
        scale = (max_norms / (norms + 1e-6)).clamp(max=1.0)
        self._gradients.mul_(scale.unsqueeze(1))

    @torch.no_grad()
    def keep(self, lanes: Sequence[int]) -> None:
        """Drop every lane that is not in ``lanes``; the order given becomes the new numbering.

        The parameter objects of the lanes that stay are the same, so their optimisers carry on.
        """
        chosen = torch.tensor(list(lanes), dtype=torch.int64, device=self.device)
        self._named = [self._named[lane] for lane in lanes]
        self._flat = [self._flat[lane] for lane in lanes]
        self._store(self._values[chosen], self._gradients[chosen])

    @torch.no_grad()
    def add(self, count: int) -> range:
        """Append ``count`` lanes of zero parameters and return their numbers; the others stay as they are."""
        first = self.lanes
        new = self._values.new_zeros(count, self._layout.size)
        values, gradients = torch.cat([self._values, new]), torch.cat([self._gradients, new])
        for row_ in values[first:]:
            self._flat.append(nn.Parameter(row_))
            self._named.append({name: nn.Parameter(view) for name, view in self._layout.views(row_).items()})
        self._store(values, gradients)
        return range(first, self.lanes)

    def _store(self, values: Tensor, gradients: Tensor) -> None:
        """Make ``values`` and ``gradients`` [K, P] the storage that all parameter objects look into."""
        self._values, self._gradients = values, gradients
        self._value_views, self._gradient_views = self._layout.views(values), self._layout.views(gradients)
        for lane, (flat, named) in enumerate(zip(self._flat, self._named, strict=True)):
            flat.data, flat.grad = values[lane], gradients[lane]
            for name, parameter in named.items():
                parameter.data = self._value_views[name][lane]
                parameter.grad = self._gradient_views[name][lane]
        self._shards: list[Shard] = []

    def _pack(self) -> None:
        """Copy the parameters into the layers' matrices, in the type of the products."""
        wanted = torch.get_num_threads() if self.device.type == "cpu" else 1
        if not self._shards or self._workers.count != wanted:
            self._divide(wanted)
        for matrix, parameter in self._copies:
            matrix.copy_(parameter)

    def _unpack(self) -> None:
        for gradient, matrix in self._returns:
            gradient.copy_(matrix)

    def _divide(self, threads: int) -> None:
        """Allocate the layers' matrices and give each of ``threads`` threads its range of lanes."""
        if self._workers.count != threads:
            self._workers = Workers(threads)
        spec, H, cell = self.spec, self.spec.hidden_dim, make_cell(self.spec)
        matrices, products = [], []
        self._copies: list[tuple[Tensor, Tensor]] = []
        self._returns: list[tuple[Tensor, Tensor]] = []
        for layer in range(spec.layers):
            inputs = spec.input_dim if layer == 0 else H
            shape = (self.lanes, cell.rows * H, row(H, inputs))
            w = torch.zeros(shape, dtype=COMPUTE[self.precision], device=self.device)
            dw = torch.zeros_like(w)
            for block in cell.blocks(H, inputs):
                name = f"rnn.{block.parameter}_l{layer}"
                for pairs, matrix, views in (
                    (self._copies, w, self._value_views),
                    (self._returns, dw, self._gradient_views),
                ):
                    part, view = matrix[:, block.rows, block.columns], views[name][:, block.source]
                    view = view if view.dim() == 3 else view.unsqueeze(-1)
                    pairs.append((part, view) if matrix is w else (view, part))
            matrices.append(w)
            products.append(dw)
        heads = [(v["head.weight"], v["head.bias"]) for v in (self._value_views, self._gradient_views)]
        parts = min(threads, self.lanes)
        bounds = [self.lanes * i // parts for i in range(parts + 1)]
        ranges = [range(a, b) for a, b in zip(bounds, bounds[1:], strict=False)]
        self._shards = [Shard(spec, r, matrices, products, heads[0], heads[1]) for r in ranges]
