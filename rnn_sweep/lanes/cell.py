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

from torch import Tensor


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
    def last_state(self, x: Tensor, rows: list[Tensor], w: list[Tensor], scratch: list[dict[str, Tensor]]) -> Tensor:
        """Run all steps without a trace, from zero state, and return the top layer's last state [K, N, H].

        Args:
            x: [T, N, I], the same sequences for all lanes.
            rows: for each layer a row of its tape, [K, N, Z], with the state in its first H columns.
            w: for each layer its matrix [K, R, Z].
            scratch: for each layer its step-sized buffers, zeroed.
        """

    @abstractmethod
    def backward(self, tape: Tape, w_hidden: Tensor, upstream: list[Tensor] | None) -> None:
        """Run the steps backwards and fill ``tape.delta``.

        ``tape.scratch["dh"]`` [K, B, H] enters with the gradient of the last state from the head (zero
        below the top); ``upstream`` has the gradient of each step's output from the layer above;
        ``w_hidden`` is [K, R_h, H].
        """
