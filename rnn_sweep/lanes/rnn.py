"""The recurrent layer of ``nn.RNN``, h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), f = relu or tanh."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from rnn_sweep.lanes.cell import Block, Cell, Tape, blocks
from rnn_sweep.lanes.compiled import compiled, product, tanh


@compiled
def _step(z: Tensor, w_t: Tensor, scratch: dict[str, Tensor], out: Tensor, relu: bool) -> None:
    """``z`` [K, B, Z] to ``out`` [K, B, H], which may be a part of ``z``."""
    pre = product(z, w_t, scratch["pre"])
    if relu:
        torch.clamp_min(pre, 0, out=out)
    else:
        tanh(pre, out)


@compiled
def _forward(steps: list[Tensor], hidden: list[Tensor], w_t: Tensor, scratch: dict[str, Tensor], relu: bool) -> None:
    for t in range(len(hidden) - 1):
        _step(steps[t], w_t, scratch, hidden[t + 1], relu)


@compiled
def _last_state(
    x: Tensor, rows: list[Tensor], w_t: list[Tensor], scratch: list[dict[str, Tensor]], relu: bool
) -> Tensor:
    out = x
    for t in range(x.shape[0]):
        inputs = x[t]
        for layer in range(len(rows)):
            z = rows[layer]
            out = z.narrow(-1, 0, scratch[layer]["pre"].shape[-1])
            z.narrow(-1, out.shape[-1], inputs.shape[-1]).copy_(inputs)
            _step(z, w_t[layer], scratch[layer], out, relu)
            inputs = out
    return out


@compiled
def _backward(
    deltas: list[Tensor], hidden: list[Tensor], dh: Tensor, w_hidden: Tensor, upstream: list[Tensor], relu: bool
) -> None:
    for back in range(len(deltas)):
        t = len(deltas) - 1 - back
        if len(upstream) > 0:
            dh.add_(upstream[t])
        if relu:
            torch.ops.aten.threshold_backward(dh, hidden[t + 1], 0, grad_input=deltas[t])
        else:
            torch.ops.aten.tanh_backward(dh, hidden[t + 1], grad_input=deltas[t])
        if t > 0:
            torch.bmm(deltas[t], w_hidden, out=dh)


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

    def forward(self, tape: Tape, w: Tensor) -> None:
        """Run all steps; see :meth:`Cell.forward`."""
        _forward(tape.steps, tape.hidden, w.mT, tape.scratch, self.relu)

    def last_state(self, x: Tensor, rows: list[Tensor], w: list[Tensor], scratch: list[dict[str, Tensor]]) -> Tensor:
        """Run all steps without a trace; see :meth:`Cell.last_state`."""
        return _last_state(x, rows, [each.mT for each in w], scratch, self.relu)

    def backward(self, tape: Tape, w_hidden: Tensor, upstream: list[Tensor] | None) -> None:
        """Run the steps backwards; see :meth:`Cell.backward`."""
        _backward(tape.deltas, tape.hidden, tape.scratch["dh"], w_hidden, upstream or [], self.relu)
