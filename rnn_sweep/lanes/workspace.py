"""Buffers of a range of lanes for one batch shape (T, B), allocated once, with views for every step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rnn_sweep.lanes.cell import Cell, Tape
from rnn_sweep.lanes.layout import aligned
from rnn_sweep.models.recurrent import ModelSpec


def row(hidden: int, inputs: int) -> int:
    """Length Z of a tape row ``[h | x | 1 | 1 | 0…]``."""
    return aligned(hidden + inputs + 2)


def new_rows(shape: tuple[int, ...], ones: int, like: Tensor) -> Tensor:
    """Allocate zeroed tape rows with the two constant columns, starting at ``ones``, that the biases multiply."""
    z = like.new_zeros(shape)
    z[..., ones : ones + 2] = 1
    return z


@dataclass
class Workspace:
    """The tapes of every layer, and what lies between them."""

    tapes: list[Tape]
    upstream: list[Tensor]
    """[K, T, B, H] for each pair of layers: gradient of the lower one's outputs."""
    masks: list[Tensor]
    """[K, T, B, H] for each pair of layers, 0 or 1/(1−p); empty without dropout."""
    dh: Tensor
    """[K, B, H], the gradient of the current step's state, shared by the layers."""


def training_workspace(
    cell: Cell, spec: ModelSpec, lanes: int, steps: int, batch: int, like: Tensor
) -> Workspace:
    """Allocate for ``lanes`` × ``batch`` sequences of ``steps`` steps, with the type and device of ``like``."""
    H = spec.hidden_dim
    dh = like.new_zeros(lanes, batch, H)
    tapes = []
    for layer in range(spec.layers):
        inputs = spec.input_dim if layer == 0 else H
        z = new_rows((lanes, steps + 1, batch, row(H, inputs)), H + inputs, like)
        delta = like.new_zeros(lanes, steps, batch, cell.rows * H)
        scratch = {name: like.new_zeros(shape) for name, shape in cell.scratch(lanes, batch, H).items()}
        kept = cell.buffers(lanes, steps, batch, H)
        tapes.append(
            Tape(
                z=z,
                steps=list(z.unbind(1)),
                hidden=list(z[..., :H].unbind(1)),
                delta=delta,
                deltas=list(delta.unbind(1)),
                scratch={**scratch, "dh": dh},
                saved={name: list(like.new_zeros(shape).unbind(1)) for name, shape in kept.items()},
            )
        )
    between = (lanes, steps, batch, H)
    pairs = spec.layers - 1
    return Workspace(
        tapes=tapes,
        upstream=[torch.zeros(between, dtype=like.dtype, device=like.device) for _ in range(pairs)],
        masks=[like.new_zeros(between) for _ in range(pairs)] if spec.dropout else [],
        dh=dh,
    )
