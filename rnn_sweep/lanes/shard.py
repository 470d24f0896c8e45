"""The forward and backward pass of a range of lanes: what one thread works on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rnn_sweep.lanes.cell import Cell
from rnn_sweep.lanes.gru import GRU
from rnn_sweep.lanes.lstm import LSTM
from rnn_sweep.lanes.rnn import RNN
from rnn_sweep.lanes.workspace import Workspace, new_rows, row, training_workspace
from rnn_sweep.models.recurrent import ModelSpec

EVALUATION_ROWS = 2048
"""Sequences × lanes that an evaluation step takes at once: a step's rows then stay in a core's cache."""


def make_cell(spec: ModelSpec) -> Cell:
    """Return the arithmetic of ``spec``'s cell."""
    if spec.cell == "rnn":
        return RNN(spec.nonlinearity or "tanh")
    return GRU() if spec.cell == "gru" else LSTM()


class Shard:
    """Lanes ``lanes`` of a network, on views of its matrices; the range shares nothing with other ranges."""

    def __init__(
        self,
        spec: ModelSpec,
        lanes: range,
        matrices: list[Tensor],
        gradients: list[Tensor],
        head: tuple[Tensor, Tensor],
        head_gradient: tuple[Tensor, Tensor],
    ) -> None:
        cut = slice(lanes.start, lanes.stop)
        self.spec, self.lanes, self.cell = spec, lanes, make_cell(spec)
        self.matrices = [m[cut] for m in matrices]
        self.gradients = [g[cut] for g in gradients]
        self.head = (head[0][cut], head[1][cut])
        self.head_gradient = (head_gradient[0][cut], head_gradient[1][cut])
        self.workspaces: dict[tuple[int, int], Workspace] = {}

    def forward_backward(
        self, x: Tensor, y: Tensor, generators: Sequence[torch.Generator] | None
    ) -> tuple[Tensor, Tensor]:
        """Fill the gradients for ``x`` [T, k, B, I] and ``y`` [k, B]; return loss [k] and correct [k]."""
        T, _, B, _ = x.shape
        if (T, B) not in self.workspaces:
            like = self.matrices[0]
            self.workspaces[T, B] = training_workspace(self.cell, self.spec, len(self.lanes), T, B, like)
        space = self.workspaces[T, B]
        self._forward(space, x, generators)
        loss, correct = self._head(space, y)
        self._backward(space)
        return loss, correct

    def _forward(self, space: Workspace, x: Tensor, generators: Sequence[torch.Generator] | None) -> None:
        H, T = self.spec.hidden_dim, x.shape[0]
        inputs = x.transpose(0, 1)
        for layer, (tape, w) in enumerate(zip(space.tapes, self.matrices, strict=True)):
            place = tape.z[:, :T, :, H : H + inputs.shape[-1]]
            if layer and space.masks:
                torch.mul(inputs, self._draw(space.masks[layer - 1], generators), out=place)
            else:
                place.copy_(inputs)
            self.cell.forward(tape, w)
            inputs = tape.z[:, 1:, :, :H]

    def _draw(self, mask: Tensor, generators: Sequence[torch.Generator] | None) -> Tensor:
        if generators is None:
            raise ValueError("dropout needs one generator per lane, got None")
        keep = 1 - self.spec.dropout
        for k, lane in enumerate(self.lanes):
            mask[k].bernoulli_(keep, generator=generators[lane])
        return mask.mul_(1 / keep)

    def _head(self, space: Workspace, y: Tensor) -> tuple[Tensor, Tensor]:
        weight, bias = self.head
        last = space.tapes[-1].hidden[-1].to(weight.dtype)
        logp = torch.baddbmm(bias.unsqueeze(1), last, weight.mT).log_softmax(-1)
        target = y.unsqueeze(-1)
        chosen = logp.gather(-1, target)
        correct = (logp.argmax(-1) == y).sum(-1)
        d_logits = logp.exp_().scatter_add_(-1, target, chosen.new_full((), -1.0).expand_as(chosen))
        d_logits.mul_(1 / y.shape[-1])
        self.head_gradient[0].copy_(torch.bmm(d_logits.mT, last))
        self.head_gradient[1].copy_(d_logits.sum(1))
        space.dh.copy_(torch.bmm(d_logits, weight))
        return -chosen.mean((1, 2)), correct

    def _backward(self, space: Workspace) -> None:
        H, cell = self.spec.hidden_dim, self.cell
        own = slice(cell.hidden_rows.start * H, cell.hidden_rows.stop * H)
        below = slice(cell.input_rows.start * H, cell.input_rows.stop * H)
        upstream: list[Tensor] | None = None
        for layer in reversed(range(self.spec.layers)):
            tape, w = space.tapes[layer], self.matrices[layer]
            cell.backward(tape, w[:, own, :H], upstream)
            delta = tape.delta.flatten(1, 2)
            torch.bmm(delta.mT, tape.z[:, :-1].flatten(1, 2), out=self.gradients[layer])
            if layer:
                down = space.upstream[layer - 1]
                torch.bmm(delta[..., below], w[:, below, H : 2 * H], out=down.flatten(1, 2))
                if space.masks:
                    down.mul_(space.masks[layer - 1])
                upstream = list(down.unbind(1))
                space.dh.zero_()

    def evaluate(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Sum the loss [k] and count the correct answers [k] over ``x`` [T, N, I], ``y`` [N], without dropout."""
        chunk = max(1, EVALUATION_ROWS // len(self.lanes))
        loss = self.head[0].new_zeros(len(self.lanes))
        correct = torch.zeros(len(self.lanes), dtype=torch.int64, device=loss.device)
        for xs, ys in zip(x.split(chunk, dim=1), y.split(chunk), strict=True):
            logp = self._logits(xs).log_softmax(-1)
            loss -= logp.gather(-1, ys.expand(len(self.lanes), -1).unsqueeze(-1)).sum((1, 2))
            correct += (logp.argmax(-1) == ys).sum(-1)
        return loss, correct

    def _logits(self, x: Tensor) -> Tensor:
        H, lanes, batch, like = self.spec.hidden_dim, len(self.lanes), x.shape[1], self.matrices[0]
        sizes = [self.spec.input_dim] + [H] * (self.spec.layers - 1)
        rows = [new_rows((lanes, batch, row(H, size)), H + size, like) for size in sizes]
        shapes = self.cell.scratch(lanes, batch, H)
        scratch = [{name: like.new_zeros(shape) for name, shape in shapes.items()} for _ in sizes]
        for x_t in x:
            inputs = x_t
            for z, w, buffers, size in zip(rows, self.matrices, scratch, sizes, strict=True):
                z[..., H : H + size] = inputs
                inputs = z[..., :H]
                self.cell.step(z, w, buffers, inputs)
        weight, bias = self.head
        return torch.baddbmm(bias.unsqueeze(1), inputs.to(weight.dtype), weight.mT)
