"""Buffers of a few lanes for one batch shape, allocated once, with views for every step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from rnn_sweep.lanes.cell import Cell, Tape
from rnn_sweep.lanes.layout import aligned, strands
from rnn_sweep.models.recurrent import ModelSpec


def row(hidden: int, inputs: int) -> int:
    """Length Z of a tape row ``[h | x | 1 | 1 | 0…]``."""
    return aligned(hidden + inputs + 2)


def new_rows(shape: tuple[int, ...], ones: int, like: Tensor) -> Tensor:
    """Allocate zeroed tape rows, with two columns of ones from ``ones`` on, which the biases multiply."""
    z = like.new_zeros(shape)
    z[..., ones : ones + 2] = 1
    return z


class Matrices:
    """The weights of ``lanes`` lanes as the products need them, by strand (layer and direction), with the gradients."""

    def __init__(self, cell: Cell, spec: ModelSpec, lanes: int, like: Tensor) -> None:
        self._cell, self._spec = cell, spec
        H = self._H = spec.hidden_dim
        self._names = [name for name, _ in strands(spec)]
        self.inputs = [inputs for _, inputs in strands(spec)]
        shapes = [(lanes, cell.rows * H, row(H, inputs)) for inputs in self.inputs]
        self.whole = [like.new_zeros(shape) for shape in shapes]
        self.gradient = [like.new_zeros(shape) for shape in shapes]
        self._own = slice(cell.hidden_rows.start * H, cell.hidden_rows.stop * H)
        self._below = slice(cell.input_rows.start * H, cell.input_rows.stop * H)
        # Contiguous copies of parts of the whole, for the backward pass.
        self.hidden = [w[:, self._own, :H].contiguous() for w in self.whole]
        self._first = spec.directions
        """Strands of the lowest layer, whose inputs need no gradient."""
        self.input = [self._seen(strand).contiguous() for strand in range(self._first, len(self.whole))]

    def _seen(self, strand: int) -> Tensor:
        """What multiplies the outputs of the layer below."""
        return self.whole[strand][:, self._below, self._H : self._H + self.inputs[strand]]

    def read(self, values: dict[str, Tensor], backward: bool) -> None:
        """Copy the lanes' parameters ``values`` [k, …] in, and what a ``backward`` pass needs."""
        for strand, w in enumerate(self.whole):
            for block in self._cell.blocks(self._H, self.inputs[strand]):
                part = values[f"rnn.{block.parameter}_{self._names[strand]}"][:, block.source]
                w[:, block.rows, block.columns] = part if part.dim() == 3 else part.unsqueeze(-1)
            if backward:
                self.hidden[strand].copy_(w[:, self._own, : self._H])
        if backward:
            for strand, copy in enumerate(self.input, self._first):
                copy.copy_(self._seen(strand))

    def write(self, gradients: dict[str, Tensor]) -> None:
        """Copy the gradient matrices out into the lanes' ``gradients`` [k, …]."""
        for strand, dw in enumerate(self.gradient):
            for block in self._cell.blocks(self._H, self.inputs[strand]):
                part = gradients[f"rnn.{block.parameter}_{self._names[strand]}"][:, block.source]
                result = dw[:, block.rows, block.columns]
                part.copy_(result if part.dim() == 3 else result.squeeze(-1))


@dataclass
class Workspace:
    """Everything that ``lanes`` × ``batch`` sequences need for a training step."""

    matrices: Matrices
    tapes: list[Tape]
    upstream: list[Tensor]
    """[T, K, B, D H] for each pair of layers of D directions: gradient of the lower one's outputs."""
    masks: list[Tensor]
    """[K, T, B, D H] for each pair of layers, 0 or 1/(1-p), lane by lane; empty without dropout."""
    dh: Tensor
    """[K, B, H], the gradient of the current step's state, shared by the strands."""
    d_head: Tensor
    """[K, n, D H], the gradient of what the head sees: n = B last states (``dh`` itself where D = 1), or T B of all."""


def training_workspace(cell: Cell, spec: ModelSpec, lanes: int, steps: int, batch: int, like: Tensor) -> Workspace:
    """Allocate for ``lanes`` × ``batch`` sequences of ``steps`` steps, in the type and device of ``like``."""
    H = spec.hidden_dim
    dh = like.new_zeros(lanes, batch, H)
    matrices = Matrices(cell, spec, lanes, like)
    tapes = []
    for inputs in matrices.inputs:
        z = new_rows((steps + 1, lanes, batch, row(H, inputs)), H + inputs, like)
        delta = like.new_zeros(steps, lanes, batch, cell.rows * H)
        scratch = {name: like.new_zeros(shape) for name, shape in cell.scratch(lanes, batch, H).items()}
        kept = cell.buffers(lanes, steps, batch, H)
        tapes.append(
            Tape(
                z=z,
                steps=list(z.unbind()),
                hidden=list(z[..., :H].unbind()),
                delta=delta,
                deltas=list(delta.unbind()),
                scratch={**scratch, "dh": dh},
                saved={name: list(like.new_zeros(shape).unbind()) for name, shape in kept.items()},
            )
        )
    pairs, width = range(spec.layers - 1), spec.directions * H
    simple = not spec.per_step and not spec.bidirectional
    return Workspace(
        matrices=matrices,
        tapes=tapes,
        upstream=[like.new_zeros(steps, lanes, batch, width) for _ in pairs],
        masks=[like.new_zeros(lanes, steps, batch, width) for _ in pairs] if spec.dropout else [],
        dh=dh,
        d_head=dh if simple else like.new_zeros(lanes, batch * (steps if spec.per_step else 1), width),
    )
