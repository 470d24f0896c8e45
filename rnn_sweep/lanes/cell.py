"""What recurrent cells have in common: one matrix per layer and lane, and loops over time on prepared views.

A layer reads one tape ``z`` [T+1, K, B, Z] whose rows are ``[h_{t-1} | x_t | 1 | 1 | 0…]``, so that a step
is a single batched product with the matrix ``w`` [K, R, Z] = ``[W_hh | W_ih | b_ih | b_hh | 0…]`` and
writes h_t into the next row. The gradient of that matrix is then one product over all steps: ``deltaᵀ z``.
Time is the outermost dimension, so that the operands of every step are contiguous: oneDNN silently copies
any other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

# One overload each, looked up once: resolving it at every call costs more than a small step's arithmetic.
sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
"""(gradient, s, grad_input=out): gradient * s * (1 - s)."""
tanh_backward = torch.ops.aten.tanh_backward.grad_input
"""(gradient, y, grad_input=out): gradient * (1 - y²)."""
threshold_backward = torch.ops.aten.threshold_backward.grad_input
"""(gradient, h, 0, grad_input=out): gradient where h > 0, else 0."""


@dataclass(frozen=True)
class Block:
    """A part of a parameter and its place in the layer's matrix ``w`` (row and column ranges)."""

    parameter: str
    """``weight_ih``, ``weight_hh``, ``bias_ih`` or ``bias_hh``."""
    source: slice
    rows: slice
    columns: slice


def blocks(parts: list[tuple[str, slice, slice]], hidden: int, inputs: int) -> list[Block]:
    """Give (kind, source rows, matrix rows) of weights and biases their columns; kind is ih or hh."""
    columns = {
        "weight_hh": slice(0, hidden),
        "weight_ih": slice(hidden, hidden + inputs),
        "bias_ih": slice(hidden + inputs, hidden + inputs + 1),
        "bias_hh": slice(hidden + inputs + 1, hidden + inputs + 2),
    }
    return [
        Block(f"{what}_{kind}", source, rows, columns[f"{what}_{kind}"])
        for kind, source, rows in parts
        for what in ("weight", "bias")
    ]


@dataclass
class Tape:
    """One layer's buffers for one batch shape, with per-step views: slicing costs as much as a kernel."""

    z: Tensor
    """[T+1, K, B, Z], rows ``[h | x | 1 | 1 | 0…]``."""
    steps: list[Tensor]
    """z[t], for t in 0…T."""
    hidden: list[Tensor]
    """z[t, :, :, :H], for t in 0…T: the state before step t."""
    delta: Tensor
    """[T, K, B, R], the gradient with respect to each step's product."""
    deltas: list[Tensor]
    scratch: dict[str, Tensor]
    """Step-sized buffers."""
    saved: dict[str, list[Tensor]]
    """What the forward pass keeps for the backward pass, by step."""


class Cell(ABC):
    """The arithmetic of one kind of recurrent layer. Without state: every buffer is in the :class:`Tape`."""

    rows: ClassVar[int]
    """Row blocks of H in the matrix ``w``."""
    hidden_rows: ClassVar[slice]
    """Row blocks that multiply the hidden state."""
    input_rows: ClassVar[slice]
    """Row blocks that multiply the input."""

    @abstractmethod
    def blocks(self, hidden: int, inputs: int) -> list[Block]:
        """Say where the parameters lie in ``w``."""

    @abstractmethod
    def buffers(self, lanes: int, steps: int, batch: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """Shapes of what training keeps per step ([T, K, B, ·])."""

    @abstractmethod
    def scratch(self, lanes: int, batch: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """Shapes of step-sized buffers ([K, B, ·])."""

    @abstractmethod
    def forward(self, tape: Tape, w: Tensor) -> None:
        """Run all steps, from zero state, writing h_t to ``tape.hidden[t + 1]`` and what backward needs."""

    @abstractmethod
    def step(self, z: Tensor, w: Tensor, scratch: dict[str, Tensor], out: Tensor) -> None:
        """One step without a trace: ``z`` [K, B, Z] to ``out`` [K, B, H], which may be a part of ``z``."""

    @abstractmethod
    def backward(self, tape: Tape, w_hidden: Tensor, upstream: list[Tensor] | None) -> None:
        """Run the steps backwards and fill ``tape.delta``.

        ``tape.scratch["dh"]`` [K, B, H] enters with the gradient of the last state from the head (zero
        below the top); ``upstream`` has the gradient of each step's output from the layer above;
        ``w_hidden`` is [K, R_h, H].
        """


def product(z: Tensor, w: Tensor, out: Tensor) -> Tensor:
    """Multiply ``z`` [K, B, Z] by ``w`` transposed, [K, R, Z], into the contiguous ``out`` [K, B, R]."""
    return torch.bmm(z, w.mT, out=out)


_MINUS_ONE = torch.tensor(-1.0)


def tanh(x: Tensor, out: Tensor) -> Tensor:
    """Set ``out``, which may be ``x``, to the hyperbolic tangent of ``x``.

    In fp32 on a CPU as 2 σ(2x) - 1, off by 2e-7 at most: torch's own tanh takes five times as long there. In bf16
    the difference of two numbers near 1 would be off by 4e-3, so that torch's is used.
    """
    if x.dtype is not torch.float32 or x.device.type != "cpu":
        return torch.tanh(x, out=out)
    torch.mul(x, 2, out=out)
    return torch.add(_MINUS_ONE, out.sigmoid_(), alpha=2, out=out)
