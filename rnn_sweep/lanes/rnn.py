"""The recurrent layer of ``nn.RNN``, h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), f = relu or tanh."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from rnn_sweep.lanes.cell import Block, Cell, Tape, blocks, product, tanh, tanh_backward, threshold_backward


class RNN(Cell):
    """``nn.RNN``. The derivative of either nonlinearity follows from its output, so nothing but h is kept."""

    rows: ClassVar[int] = 1
    hidden_rows: ClassVar[slice] = slice(0, 1)
    input_rows: ClassVar[slice] = slice(0, 1)

    def __init__(self, nonlinearity: str) -> None:
        self.relu = nonlinearity == "relu"

    def blocks(self, hidden: int, inputs: int) -> list[Block]:
        """Say where the parameters lie in ``w``."""
        everything = slice(0, hidden)
        return blocks([("ih", everything, everything), ("hh", everything, everything)], hidden, inputs)

    def buffers(self, lanes: int, steps: int, batch: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """Shapes of what training keeps per step."""
        return {}

    def scratch(self, lanes: int, batch: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """Shapes of step-sized buffers."""
        return {"pre": (lanes, batch, hidden)}

    def step(self, z: Tensor, w: Tensor, scratch: dict[str, Tensor], out: Tensor) -> None:
        """One step without a trace; see :meth:`Cell.step`."""
        pre = product(z, w, scratch["pre"])
        if self.relu:
            torch.clamp_min(pre, 0, out=out)
        else:
            tanh(pre, out)

    def forward(self, tape: Tape, w: Tensor) -> None:
        """Run all steps; see :meth:`Cell.forward`."""
        for z, out in zip(tape.steps, tape.hidden[1:], strict=False):
            self.step(z, w, tape.scratch, out)

    def backward(self, tape: Tape, w_hidden: Tensor, upstream: list[Tensor] | None) -> None:
        """Run the steps backwards; see :meth:`Cell.backward`."""
        dh = tape.scratch["dh"]
        for t in reversed(range(len(tape.deltas))):
            if upstream is not None:
                dh.add_(upstream[t])
            delta, h = tape.deltas[t], tape.hidden[t + 1]
            if self.relu:
                threshold_backward(dh, h, 0, grad_input=delta)
            else:
                tanh_backward(dh, h, grad_input=delta)
            if t:
                torch.bmm(delta, w_hidden, out=dh)
