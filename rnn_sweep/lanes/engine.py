"""The forward and backward pass of a few lanes: what one thread does, with buffers of its own.

A *strand* is one direction of one layer. The second direction of a bidirectional layer reads its inputs backwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rnn_sweep.lanes.cell import Cell, Tape
from rnn_sweep.lanes.compiled import compiled
from rnn_sweep.lanes.dropout import draw_mask
from rnn_sweep.lanes.gru import GRU
from rnn_sweep.lanes.lstm import LSTM
from rnn_sweep.lanes.rnn import RNN
from rnn_sweep.lanes.workspace import Matrices, Workspace, new_rows, row, training_workspace
from rnn_sweep.models.recurrent import ModelSpec

EVALUATION_CHUNK = 128
"""Sequences that an evaluation step takes at once: few, so that the rows of several lanes stay in a core's cache; and
the same for any number of lanes, because rounding follows from the shape of a product."""


class Own(NamedTuple):
    """What lanes of one network may differ in, beside their numbers."""

    hidden: int
    """Hidden units, of which the network may have more."""
    dropout: float
    """Probability in (0, 1) of dropping an output between layers; looked at where the network has dropout."""


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
        own: Sequence[Own],
    ) -> tuple[Tensor, Tensor]:
        """Set the ``gradients`` [k, …] of parameters ``values`` [k, …] for ``x`` [T, k, B, I], ``y`` [k, B].

        ``own`` is what the lanes differ in. Returns the mean loss [k] and the number of correct answers [k], see
        :meth:`evaluate`.
        """
        T, lanes, B, _ = x.shape
        if (lanes, T, B) not in self._workspaces:
            self._workspaces[lanes, T, B] = training_workspace(self.cell, self.spec, lanes, T, B, self.like)
        space = self._workspaces[lanes, T, B]
        space.matrices.read(values, backward=True)
        seen = self._forward(space, x, generators, own)
        head = _values if self.spec.task == "regression" else _classes
        loss, correct = head(
            seen,
            y.transpose(1, 2).flatten(1) if self.spec.per_step else y,
            values["head.weight"],
            values["head.bias"],
            gradients["head.weight"],
            gradients["head.bias"],
            space.d_head,
        )
        self._backward(space)
        space.matrices.write(gradients)
        return loss, correct / T if self.spec.per_step else correct

    def _forward(
        self, space: Workspace, x: Tensor, generators: Sequence[torch.Generator] | None, own: Sequence[Own]
    ) -> Tensor:
        """Run all layers; returns what the head sees, [k, n, D H], as :attr:`Workspace.d_head`."""
        H, T, D, inputs = self.spec.hidden_dim, x.shape[0], self.spec.directions, x
        for layer in range(self.spec.layers):
            strands = range(layer * D, (layer + 1) * D)
            places = [space.tapes[strand].z[:T, :, :, H : H + inputs.shape[-1]] for strand in strands]
            if layer and space.masks:
                mask = self._draw(space.masks[layer - 1], generators, own)
                torch.mul(inputs, mask.transpose(0, 1), out=places[0])
            else:
                places[0].copy_(inputs)
            if D == 2:
                places[1].copy_(places[0].flip(0))
            for strand in strands:
                self.cell.forward(space.tapes[strand], space.matrices.whole[strand])
            inputs = _outputs([space.tapes[strand].z[1:, :, :, :H] for strand in strands])
        if self.spec.per_step:
            return inputs.transpose(0, 1).flatten(1, 2)
        return inputs[-1] if D == 1 else torch.cat([inputs[-1, ..., :H], inputs[0, ..., H:]], -1)

    def _draw(self, masks: Tensor, generators: Sequence[torch.Generator] | None, own: Sequence[Own]) -> Tensor:
        """Draw a mask for each lane, as many numbers as it has units: a padded lane's are those of its own size."""
        if generators is None:
            raise ValueError("dropout needs one generator per lane, got None")
        whole = self.spec.hidden_dim
        for mask, generator, (hidden, dropout) in zip(masks, generators, own, strict=True):
            if hidden == whole:
                draw_mask(mask, 1 - dropout, generator)
            else:
                place = mask.zero_().view(*mask.shape[:-1], self.spec.directions, whole)[..., :hidden]
                part = mask.new_empty(place.shape)
                draw_mask(part, 1 - dropout, generator)
                place.copy_(part)
        return masks

    def _backward(self, space: Workspace) -> None:
        H, D, T, top = self.spec.hidden_dim, self.spec.directions, len(space.tapes[0].deltas), self.spec.layers - 1
        above: Tensor | None = None
        """[T, K, B, D H], the gradient of each step's output."""
        if self.spec.per_step:
            above = space.d_head.view(space.d_head.shape[0], T, -1, D * H).transpose(0, 1)
        for layer in reversed(range(self.spec.layers)):
            for direction in range(D):
                strand, part = layer * D + direction, slice(direction * H, (direction + 1) * H)
                tape = space.tapes[strand]
                if layer < top or self.spec.per_step:
                    space.dh.zero_()
                elif D == 2:
                    space.dh.copy_(space.d_head[..., part])
                self.cell.backward(tape, space.matrices.hidden[strand], _upstream(above, direction, part))
                _weight_gradient(tape.delta, tape.z[:-1], space.matrices.gradient[strand])
                if layer:
                    self._pass_down(tape, space.matrices.input[strand - D], space.upstream[layer - 1], direction)
            if layer:
                above = space.upstream[layer - 1]
                if space.masks:
                    above.mul_(space.masks[layer - 1].transpose(0, 1))

    def _pass_down(self, tape: Tape, w: Tensor, down: Tensor, direction: int) -> None:
        """Set ``down`` [T, K, B, D H] to the gradient of a layer's inputs, or add the second direction's to it."""
        H, rows = self.spec.hidden_dim, self.cell.input_rows
        outs = list(down.unbind())
        for delta, out in zip(tape.deltas, outs[::-1] if direction else outs, strict=True):
            part = delta[..., rows.start * H : rows.stop * H]
            if direction:
                out.baddbmm_(part, w)
            else:
                torch.bmm(part, w, out=out)

    def evaluate(self, values: dict[str, Tensor], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss [k, N] of every sequence of ``x`` [T, N, I], ``y`` [N, …], and whether its class was found.

        Without dropout. Where each step has an answer, both are means over the steps; a regression finds no class.
        """
        bias = values["head.bias"]
        lanes = bias.shape[0]
        matrices = Matrices(self.cell, self.spec, lanes, self.like)
        matrices.read(values, backward=False)
        losses, hits = [], []
        pairs = zip(torch.split(x, EVALUATION_CHUNK, dim=1), torch.split(y, EVALUATION_CHUNK), strict=True)
        for xs, ys in pairs:
            seen = self._seen(matrices, xs, lanes).to(bias.dtype)
            answer = torch.baddbmm(bias.unsqueeze(1), seen, values["head.weight"].mT)
            if self.spec.task == "regression":
                losses.append((answer - ys).square_().mean(-1))
                hits.append(torch.zeros_like(losses[-1]))
                continue
            logp, target = answer.log_softmax(-1), ys.flatten().expand(lanes, -1)
            loss, hit = logp.gather(-1, target.unsqueeze(-1)).squeeze(-1).neg_(), logp.argmax(-1) == target
            if self.spec.per_step:
                loss, hit = (each.view(lanes, *ys.shape).to(loss.dtype).mean(-1) for each in (loss, hit))
            losses.append(loss)
            hits.append(hit)
        return torch.cat(losses, 1), torch.cat(hits, 1)

    def _seen(self, matrices: Matrices, x: Tensor, lanes: int) -> Tensor:
        """What the head sees of ``x`` [T, N, I]: the last states [k, N, D H], or those of all steps [k, N T, D H]."""
        H, D, strands = self.spec.hidden_dim, self.spec.directions, range(len(matrices.whole))
        if D == 1 and not self.spec.per_step:
            rows, scratch = zip(*(self._fresh(matrices, strand, lanes, x.shape[1]) for strand in strands), strict=True)
            return self.cell.last_state(x, list(rows), matrices.whole, list(scratch))
        inputs = x
        for first in strands[::D]:
            outputs = [self._all_states(matrices, first, inputs, lanes)]
            if D == 2:
                outputs.append(self._all_states(matrices, first + 1, inputs.flip(0), lanes))
            inputs = _outputs(outputs)
        if self.spec.per_step:
            return inputs.permute(1, 2, 0, 3).flatten(1, 2)
        return torch.cat([inputs[-1, ..., :H], inputs[0, ..., H:]], -1)

    def _all_states(self, matrices: Matrices, strand: int, inputs: Tensor, lanes: int) -> Tensor:
        """The states [T, k, N, H] of one strand, from ``inputs`` [T, N, I] or [T, k, N, I]."""
        row_, scratch = self._fresh(matrices, strand, lanes, inputs.shape[-2])
        w, step = [matrices.whole[strand]], self.cell.last_state
        return torch.stack([step(x.unsqueeze(0), [row_], w, [scratch]).clone() for x in inputs])

    def _fresh(self, matrices: Matrices, strand: int, lanes: int, batch: int) -> tuple[Tensor, dict[str, Tensor]]:
        """A tape row of a strand, and its scratch, both in the zero state."""
        H, inputs, like = self.spec.hidden_dim, matrices.inputs[strand], self.like
        shapes = self.cell.scratch(lanes, batch, H)
        scratch = {name: like.new_zeros(shape) for name, shape in shapes.items()}
        return new_rows((lanes, batch, row(H, inputs)), H + inputs, like), scratch


def _outputs(directions: list[Tensor]) -> Tensor:
    """Join the states [T, k, N, H] of each direction, the second of which ran backwards, to [T, k, N, D H]."""
    return directions[0] if len(directions) == 1 else torch.cat([directions[0], directions[1].flip(0)], -1)


def _upstream(above: Tensor | None, direction: int, part: slice) -> list[Tensor] | None:
    if above is None:
        return None
    return list((above[..., part].flip(0) if direction else above[..., part]).unbind())


@compiled
def _weight_gradient(delta: Tensor, z: Tensor, out: Tensor) -> None:
    """Sum over steps and sequences: ``delta`` [T, K, B, R] and ``z`` [T, K, B, Z] to ``out`` [K, R, Z].

    One product over all steps per lane has the best rate, keeps bf16's sum over steps in fp32, and pays for
    gathering a lane's rows.
    """
    for k in range(out.shape[0]):
        torch.mm(delta.select(1, k).flatten(0, 1).t(), z.select(1, k).flatten(0, 1), out=out[k])


@compiled
def _head_gradients(
    d_answer: Tensor, seen: Tensor, weight: Tensor, d_weight: Tensor, d_bias: Tensor, d_seen: Tensor
) -> None:
    """Pass the gradient of the head's answers [k, n, C] on to its parameters and to what it has seen."""
    d_weight.copy_(torch.bmm(d_answer.mT, seen))
    d_bias.copy_(d_answer.sum(1))
    d_seen.copy_(torch.bmm(d_answer, weight))


@compiled
def _classes(
    seen: Tensor,
    y: Tensor,
    weight: Tensor,
    bias: Tensor,
    d_weight: Tensor,
    d_bias: Tensor,
    d_seen: Tensor,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the head on ``seen`` [k, n, W] and its gradients; returns the loss [k] and the hits [k]."""
    seen = seen.to(weight.dtype)
    logp = torch.baddbmm(bias.unsqueeze(1), seen, weight.mT).log_softmax(-1)
    target = y.unsqueeze(-1)
    chosen = logp.gather(-1, target)
    correct = (logp.argmax(-1) == y).sum(-1)
    d_logits = logp.exp_().scatter_add_(-1, target, torch.full_like(chosen, -1.0))
    _head_gradients(d_logits.mul_(1 / y.shape[-1]), seen, weight, d_weight, d_bias, d_seen)
    # In double precision, since the order of the sum depends on the number of lanes.
    return chosen.double().mean([1, 2]).neg().to(chosen.dtype), correct


@compiled
def _values(
    seen: Tensor,
    y: Tensor,
    weight: Tensor,
    bias: Tensor,
    d_weight: Tensor,
    d_bias: Tensor,
    d_seen: Tensor,
) -> tuple[Tensor, Tensor]:
    """Mean squared error of the head on ``seen`` [k, n, W], targets ``y`` [k, n, D], and its gradients; no hits."""
    seen = seen.to(weight.dtype)
    error = torch.baddbmm(bias.unsqueeze(1), seen, weight.mT) - y
    loss = error.double().square().mean([1, 2]).to(error.dtype)
    d_answer = error.mul_(2 / (error.shape[1] * error.shape[2]))
    _head_gradients(d_answer, seen, weight, d_weight, d_bias, d_seen)
    return loss, torch.zeros_like(loss)
