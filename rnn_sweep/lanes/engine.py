"""The forward and backward pass of a few lanes: what one thread does, with buffers of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rnn_sweep.lanes.cell import Cell
from rnn_sweep.lanes.compiled import compiled
from rnn_sweep.lanes.gru import GRU
from rnn_sweep.lanes.lstm import LSTM
from rnn_sweep.lanes.rnn import RNN
from rnn_sweep.lanes.workspace import Matrices, Workspace, new_rows, row, training_workspace
from rnn_sweep.models.recurrent import ModelSpec

EVALUATION_CHUNK = 128
"""Sequences that an evaluation step takes at once: few, so that the rows of several lanes stay in a core's cache; and
the same for any number of lanes, because rounding follows from the shape of a product."""


def make_cell(spec: ModelSpec) -> Cell:
    """Return the arithmetic of ``spec``'s cell."""
    if spec.cell == "rnn":
        return RNN(spec.nonlinearity or "tanh")
    return GRU() if spec.cell == "gru" else LSTM()


class Engine:
    """Trains and evaluates a few lanes of shape ``spec`` at a time, in the type and device of ``like``.

    ``number`` tells a network's engines apart.
    """

    def __init__(self, spec: ModelSpec, like: Tensor, number: int = 0) -> None:
        self.spec, self.like, self.number, self.cell = spec, like, number, make_cell(spec)
        self._workspaces: dict[tuple[int, int, int], Workspace] = {}

    def forward_backward(
        self,
        values: dict[str, Tensor],
        gradients: dict[str, Tensor],
        x: Tensor,
        y: Tensor,
        generators: Sequence[torch.Generator] | None,
        sizes: Sequence[int],
    ) -> tuple[Tensor, Tensor]:
        """Set the ``gradients`` [k, …] of parameters ``values`` [k, …] for ``x`` [T, k, B, I], ``y`` [k, B].

        ``sizes`` are the lanes' hidden units. Returns the mean loss [k] and the number of correct answers [k].
        """
        T, lanes, B, _ = x.shape
        if (lanes, T, B) not in self._workspaces:
            self._workspaces[lanes, T, B] = training_workspace(self.cell, self.spec, lanes, T, B, self.like)
        space = self._workspaces[lanes, T, B]
        space.matrices.read(values, backward=True)
        self._forward(space, x, generators, sizes)
        loss, correct = _head(
            space.tapes[-1].hidden[-1],
            y,
            values["head.weight"],
            values["head.bias"],
            gradients["head.weight"],
            gradients["head.bias"],
            space.dh,
        )
        self._backward(space)
        space.matrices.write(gradients)
        return loss, correct

    def _forward(
        self, space: Workspace, x: Tensor, generators: Sequence[torch.Generator] | None, sizes: Sequence[int]
    ) -> None:
        H, T, inputs = self.spec.hidden_dim, x.shape[0], x
        for layer, (tape, w) in enumerate(zip(space.tapes, space.matrices.whole, strict=True)):
            place = tape.z[:T, :, :, H : H + inputs.shape[-1]]
            if layer and space.masks:
                mask = self._draw(space.masks[layer - 1], generators, sizes)
                torch.mul(inputs, mask.transpose(0, 1), out=place)
            else:
                place.copy_(inputs)
            self.cell.forward(tape, w)
            inputs = tape.z[1:, :, :, :H]

    def _draw(self, masks: Tensor, generators: Sequence[torch.Generator] | None, sizes: Sequence[int]) -> Tensor:
        """Draw a mask for each lane, as many numbers as it has units: a padded lane's are those of its own size."""
        if generators is None:
            raise ValueError("dropout needs one generator per lane, got None")
        keep = 1 - self.spec.dropout
        for mask, generator, hidden in zip(masks, generators, sizes, strict=True):
            if hidden == mask.shape[-1]:
                mask.bernoulli_(keep, generator=generator)
            else:
                own = mask.new_empty(*mask.shape[:-1], hidden)
                mask.zero_()[..., :hidden] = own.bernoulli_(keep, generator=generator)
        return masks.mul_(1 / keep)

    def _backward(self, space: Workspace) -> None:
        H, rows = self.spec.hidden_dim, self.cell.input_rows
        upstream: list[Tensor] | None = None
        for layer in reversed(range(self.spec.layers)):
            tape = space.tapes[layer]
            self.cell.backward(tape, space.matrices.hidden[layer], upstream)
            _weight_gradient(tape.delta, tape.z[:-1], space.matrices.gradient[layer])
            if layer:
                down, w = space.upstream[layer - 1], space.matrices.input[layer - 1]
                for delta, out in zip(tape.deltas, down, strict=True):
                    torch.bmm(delta[..., rows.start * H : rows.stop * H], w, out=out)
                if space.masks:
                    down.mul_(space.masks[layer - 1].transpose(0, 1))
                upstream = list(down.unbind())
                space.dh.zero_()

    def evaluate(self, values: dict[str, Tensor], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss [k, N] of every sequence of ``x`` [T, N, I], ``y`` [N], and whether its class was found.

        Without dropout.
        """
        bias = values["head.bias"]
        lanes = bias.shape[0]
        matrices = Matrices(self.cell, self.spec, lanes, self.like)
        matrices.read(values, backward=False)
        losses, hits = [], []
        pairs = zip(torch.split(x, EVALUATION_CHUNK, dim=1), torch.split(y, EVALUATION_CHUNK), strict=True)
        for xs, ys in pairs:
            last = self._last_state(matrices, xs, lanes).to(bias.dtype)
            logp = torch.baddbmm(bias.unsqueeze(1), last, values["head.weight"].mT).log_softmax(-1)
            losses.append(logp.gather(-1, ys.expand(lanes, -1).unsqueeze(-1)).squeeze(-1).neg_())
            hits.append(logp.argmax(-1) == ys)
        return torch.cat(losses, 1), torch.cat(hits, 1)

    def _last_state(self, matrices: Matrices, x: Tensor, lanes: int) -> Tensor:
        H, batch, like = self.spec.hidden_dim, x.shape[1], self.like
        rows = [new_rows((lanes, batch, row(H, size)), H + size, like) for size in matrices.inputs]
        shapes = self.cell.scratch(lanes, batch, H)
        scratch = [{name: like.new_zeros(shape) for name, shape in shapes.items()} for _ in rows]
        return self.cell.last_state(x, rows, matrices.whole, scratch)


@compiled
def _weight_gradient(delta: Tensor, z: Tensor, out: Tensor) -> None:
    """Sum over steps and sequences: ``delta`` [T, K, B, R] and ``z`` [T, K, B, Z] to ``out`` [K, R, Z].

    One product over all steps per lane has the best rate, keeps bf16's sum over steps in fp32, and pays for
    gathering a lane's rows.
    """
    for k in range(out.shape[0]):
        torch.mm(delta.select(1, k).flatten(0, 1).t(), z.select(1, k).flatten(0, 1), out=out[k])


@compiled
def _head(
    last: Tensor,
    y: Tensor,
    weight: Tensor,
    bias: Tensor,
    d_weight: Tensor,
    d_bias: Tensor,
    dh: Tensor,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the head on ``last`` [k, B, H] and its gradients; returns the loss [k] and the hits [k]."""
    last = last.to(weight.dtype)
    logp = torch.baddbmm(bias.unsqueeze(1), last, weight.mT).log_softmax(-1)
    target = y.unsqueeze(-1)
    chosen = logp.gather(-1, target)
    correct = (logp.argmax(-1) == y).sum(-1)
    d_logits = logp.exp_().scatter_add_(-1, target, torch.full_like(chosen, -1.0))
    d_logits.mul_(1 / y.shape[-1])
    d_weight.copy_(torch.bmm(d_logits.mT, last))
    d_bias.copy_(d_logits.sum(1))
    dh.copy_(torch.bmm(d_logits, weight))
    # In double precision, since the order of the sum depends on the number of lanes.
    return chosen.double().mean([1, 2]).neg().to(chosen.dtype), correct
