"""K recurrent networks of one shape as one batched network, gradients by hand; a solo run is K = 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from rnn_sweep.lanes.dividing import divide, even, lanes_at_once
from rnn_sweep.lanes.engine import EVALUATION_CHUNK, Engine, Own
from rnn_sweep.lanes.layout import Layout, shapes
from rnn_sweep.lanes.precision import COMPUTE, MASTER, Precision
from rnn_sweep.lanes.workers import Workers
from rnn_sweep.models.recurrent import ModelSpec

R = TypeVar("R")

DIVIDED_BATCH_HIDDEN = 256
"""Fewest hidden units for which the threads divide the batch of a single lane."""


class LaneNetwork:
    """``lanes`` independent networks of shape ``spec``; every lane starts with zero parameters.

    Parameters and gradients live in two stacked tensors [K, P]; :meth:`parameters` are views of them, so
    any ``torch.optim`` optimiser steps a lane in place. Every :meth:`forward_backward` overwrites the
    gradients: do not call ``zero_grad``.

    ``precision``: ``fp32``; ``bf16``, products and activations in bfloat16 with fp32 parameters, gradients,
    head and loss; ``fp64``, for numerical checks. ``threads``: lanes are divided among that many threads,
    whose operations are single-threaded (on a CPU; default ``torch.get_num_threads()``).
    """

    def __init__(
        self,
        spec: ModelSpec,
        lanes: int,
        *,
        device: str | torch.device = "cpu",
        precision: Precision = "fp32",
        threads: int | None = None,
    ) -> None:
        self.spec, self.precision, self.device = spec, precision, torch.device(device)
        self._layout = Layout(spec)
        self._named: list[dict[str, nn.Parameter]] = []
        self._flat: list[nn.Parameter] = []
        self._own: list[Own] = []
        count = (threads or torch.get_num_threads()) if self.device.type == "cpu" else 1
        self._workers = Workers(count)
        self._partial = torch.zeros(0, self._layout.size, dtype=MASTER[precision], device=self.device)
        like = torch.empty(0, dtype=COMPUTE[precision], device=self.device)
        self._engines = [Engine(spec, like, number) for number in range(count)]
        empty = torch.zeros(0, self._layout.size, dtype=MASTER[precision], device=self.device)
        self._store(empty, empty)
        self.add(lanes)

    @property
    def lanes(self) -> int:
        """K, the number of lanes."""
        return len(self._flat)

    @torch.no_grad()
    def load(self, lane: int, state: Mapping[str, Tensor], dropout: float | None = None) -> None:
        """Copy the ``state_dict`` of a ``RecurrentNetwork`` into ``lane``.

        A model of fewer hidden units than the network's is padded with units that stay zero: exactly, whatever an
        elementwise optimiser does (see :meth:`Layout.part`). ``dropout`` in (0, 1) is the lane's own, where the network
        has dropout; None is the network's.

        Raises:
            ValueError: names or shapes differ from those of ``spec``.
        """
        found = {name: tuple(value.shape) for name, value in state.items()}
        hidden, whole = found.get("head.weight", (0, 0))[-1] // self.spec.directions, self.spec.hidden_dim
        if hidden > whole or found != shapes(replace(self.spec, hidden_dim=hidden)):
            raise ValueError(f"state must have the shapes {self._layout.shapes}, got {found}")
        self._own[lane] = Own(hidden, self.spec.dropout if dropout is None else dropout)
        for name, parameter in self._named[lane].items():
            part = self._layout.part(name, parameter.zero_(), hidden)
            part.copy_(state[name].view(part.shape))

    def state(self, lane: int) -> dict[str, Tensor]:
        """Return copies of ``lane``'s parameters, with the names and shapes of the model's ``state_dict``."""
        hidden = self._own[lane].hidden
        exact = shapes(replace(self.spec, hidden_dim=hidden))
        return {
            name: self._layout.part(name, parameter.detach(), hidden).clone().view(exact[name])
            for name, parameter in self._named[lane].items()
        }

    def parameters(self, lane: int) -> list[nn.Parameter]:
        """Return ``lane``'s parameters in ``state_dict`` order: the same objects while the lane lives."""
        return list(self._named[lane].values())

    def flat_parameter(self, lane: int) -> nn.Parameter:
        """Return all of ``lane``'s parameters as one vector [P]: the same object while the lane lives.

        An elementwise optimiser (SGD, Adam, RMSprop, …) computes the same on it as on :meth:`parameters`,
        with a sixth of the calls. P includes alignment gaps, whose values and gradients are zero.
        """
        return self._flat[lane]

    @torch.no_grad()
    def forward_backward(
        self, x: Tensor, y: Tensor, generators: Sequence[torch.Generator] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Set every lane's gradient to that of its mean loss over the batch.

        The loss is the cross-entropy, or the squared error of a regression, in the mean over answers.

        Args:
            x: [T, K, B, I] float, with any strides.
            y: [K, B] int64 in [0, C); [K, B, T] where each step has an answer; [K, B, D] float for a regression.
            generators: one per lane, for the dropout masks; needed if the spec has dropout between layers.

        Returns:
            The mean loss [K] and the number of correct answers [K], see :meth:`evaluate`.
        """

        def train(share: Share) -> tuple[Tensor, Tensor]:
            lanes = share.lanes
            return share.forward_backward(x[:, lanes], y[lanes], generators and generators[lanes])

        return _joined(self.side_by_side(train))

    def side_by_side(self, work: Callable[[Share], R]) -> list[R]:
        """Let each thread call ``work`` with its share of the lanes, for any number of training steps.

        A thread that does all that its lanes need, from gathering the batch to the optimiser, meets the others once
        at the end; waking it for every step would take as long as a small step.

        Args:
            work: called once for each share, all at the same time.

        Returns:
            The results in the lanes' order.
        """
        parts = divide(self.lanes, len(self._engines), lanes_at_once(self.spec))
        shares = [Share(self, engine, chunks) for engine, chunks in zip(self._engines, parts, strict=False)]
        return self._workers.run([partial(work, share) for share in shares])

    def _halves(self, batch: int) -> bool:
        """Say whether threads divide the batch: one lane, long steps, no mask drawn for the whole batch."""
        spec, threads = self.spec, len(self._engines)
        masked = spec.dropout > 0 and spec.layers > 1
        return self.lanes == 1 and 1 < threads <= batch and spec.hidden_dim >= DIVIDED_BATCH_HIDDEN and not masked

    def _divided_batch(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`forward_backward` for one lane, with the batch divided among the threads."""
        batch, threads = y.shape[1], len(self._engines)
        if self._partial.shape[0] != threads:
            self._partial = self._gradients.new_zeros(threads, self._layout.size)
        parts = even(slice(0, batch), threads)
        values = self._layout.views(self._values)

        def train(engine: Engine, part: slice) -> tuple[Tensor, Tensor]:
            gradients = self._layout.views(self._partial[engine.number : engine.number + 1])
            return engine.forward_backward(values, gradients, x[:, :, part], y[:, part], None, self._own)

        results = self._by_thread(train, [[part] for part in parts])
        share = self._partial.new_tensor([(part.stop - part.start) / batch for part in parts])
        torch.mv(self._partial.T, share, out=self._gradients[0])
        loss, correct = _joined(results)
        return loss.mul(share).sum(0, keepdim=True), correct.sum(0, keepdim=True)

    @torch.no_grad()
    def evaluate(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate all lanes on the same data, without dropout.

        Args:
            x: [T, N, I] float.
            y: [N] int64, [N, T] or [N, D], see :meth:`forward_backward`.

        Returns:
            The loss of a sequence summed over the data [K], in double precision, and the number of correct answers [K],
            a fraction of one for each step where each has an answer, and none for a regression.
        """
        values = self._layout.views(self._values)
        if self.lanes == 1:
            chunks = even(slice(0, -(-y.shape[0] // EVALUATION_CHUNK)), len(self._engines))
            size = EVALUATION_CHUNK
            parts = [[slice(part.start * size, part.stop * size)] for part in chunks if part.stop > part.start]
            results = self._by_thread(lambda engine, part: engine.evaluate(values, x[:, part], y[part]), parts)
            losses, hits = (torch.cat(each, 1) for each in zip(*results, strict=True))
        else:

            def evaluate(engine: Engine, lanes: slice) -> tuple[Tensor, Tensor]:
                return engine.evaluate({name: value[lanes] for name, value in values.items()}, x, y)

            shares = divide(self.lanes, len(self._engines), lanes_at_once(self.spec))
            losses, hits = _joined(self._by_thread(evaluate, shares))
        return losses.double().sum(1), hits.sum(1)

    @torch.no_grad()
    def keep(self, lanes: Sequence[int]) -> None:
        """Drop every lane that is not in ``lanes``; the order given becomes the new numbering.

        The parameter objects of the lanes that stay are the same, so their optimisers carry on.
        """
        chosen = torch.tensor(list(lanes), dtype=torch.int64, device=self.device)
        self._named = [self._named[lane] for lane in lanes]
        self._flat = [self._flat[lane] for lane in lanes]
        self._own = [self._own[lane] for lane in lanes]
        self._store(self._values[chosen], self._gradients[chosen])

    @torch.no_grad()
    def move(self, lanes: Sequence[int], to: LaneNetwork) -> None:
        """Append ``lanes`` to another network of the same shape, in that order; parameter objects stay the same."""
        chosen = torch.tensor(list(lanes), dtype=torch.int64, device=self.device)
        to._named += [self._named[lane] for lane in lanes]
        to._flat += [self._flat[lane] for lane in lanes]
        to._own += [self._own[lane] for lane in lanes]
        to._store(torch.cat([to._values, self._values[chosen]]), torch.cat([to._gradients, self._gradients[chosen]]))
        self.keep([lane for lane in range(self.lanes) if lane not in set(lanes)])

    @torch.no_grad()
    def add(self, count: int) -> range:
        """Append ``count`` lanes of zero parameters and return their numbers; the others stay as they are."""
        first = self.lanes
        new = self._values.new_zeros(count, self._layout.size)
        values, gradients = torch.cat([self._values, new]), torch.cat([self._gradients, new])
        for row_ in values[first:]:
            self._flat.append(nn.Parameter(row_))
            self._own.append(Own(self.spec.hidden_dim, self.spec.dropout))
            self._named.append({name: nn.Parameter(view) for name, view in self._layout.views(row_).items()})
        self._store(values, gradients)
        return range(first, self.lanes)

    def _store(self, values: Tensor, gradients: Tensor) -> None:
        """Make ``values`` and ``gradients`` [K, P] the storage that the parameter objects look into."""
        self._values, self._gradients = values, gradients
        value_views, gradient_views = self._layout.views(values), self._layout.views(gradients)
        for lane, (flat, named) in enumerate(zip(self._flat, self._named, strict=True)):
            flat.data, flat.grad = values[lane], gradients[lane]
            for name, parameter in named.items():
                parameter.data = value_views[name][lane]
                parameter.grad = gradient_views[name][lane]

    def _by_thread(
        self,
        work: Callable[[Engine, slice], tuple[Tensor, Tensor]],
        shares: list[list[slice]],
    ) -> list[tuple[Tensor, Tensor]]:
        """Let thread i call ``work`` for each slice of ``shares[i]``; results in the slices' order."""

        def share(engine: Engine, parts: list[slice]) -> list[tuple[Tensor, Tensor]]:
            return [work(engine, part) for part in parts]

        jobs = [partial(share, engine, parts) for engine, parts in zip(self._engines, shares, strict=False)]
        return [result for done in self._workers.run(jobs) for result in done]


class Share:
    """The lanes of a network that one thread drives; see :meth:`LaneNetwork.side_by_side`."""

    def __init__(self, network: LaneNetwork, engine: Engine, chunks: list[slice]) -> None:
        self._network, self._engine = network, engine
        self.lanes = slice(chunks[0].start, chunks[-1].stop)
        self._gradients = network._gradients[self.lanes]
        self._own = network._own[self.lanes]
        views = network._layout.views
        self._chunks = [
            (
                slice(c.start - self.lanes.start, c.stop - self.lanes.start),
                views(network._values[c]),
                views(network._gradients[c]),
            )
            for c in chunks
        ]

    @torch.no_grad()
    def forward_backward(
        self, x: Tensor, y: Tensor, generators: Sequence[torch.Generator] | None = None
    ) -> tuple[Tensor, Tensor]:
        """As :meth:`LaneNetwork.forward_backward`, for these lanes alone: ``x`` [T, k, B, I], ``y`` [k, B]."""
        if self._network._halves(y.shape[1]):
            return self._network._divided_batch(x, y)
        return _joined(
            [
                self._engine.forward_backward(
                    values, gradients, x[:, here], y[here], generators and generators[here], self._own[here]
                )
                for here, values, gradients in self._chunks
            ]
        )

    def grad_norms(self) -> Tensor:
        """Return the 2-norm of each lane's whole gradient, [k]."""
        norms: Tensor = torch.linalg.vector_norm(self._gradients, dim=1)
        return norms

    @torch.no_grad()
    def clip_(self, max_norms: Tensor, norms: Tensor) -> None:
        """Scale each lane's gradient to at most ``max_norms`` [k] (inf: untouched), given ``norms`` [k].

        As ``torch.nn.utils.clip_grad_norm_``, with its 1e-6 in the denominator.
        """
        scale = (max_norms / (norms + 1e-6)).clamp(max=1.0)
        self._gradients.mul_(scale.unsqueeze(1))


def _joined(results: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    if len(results) == 1:
        return results[0]
    return torch.cat([loss for loss, _ in results]), torch.cat([correct for _, correct in results])
