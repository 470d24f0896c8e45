"""Long short-term memory as in ``nn.LSTM``: c' = f ⊙ c + i ⊙ g, h' = o ⊙ tanh(c'), rows (i, f, g, o)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from rnn_sweep.lanes.cell import Block, Cell, Tape, blocks, product, sigmoid_backward, tanh, tanh_backward


class LSTM(Cell):
    """``nn.LSTM``.

    The deltas of i, f and g are proportional to dc, that of o to dh: the forward pass keeps the factors in
    the place of the deltas, with ``open`` = ∂h'/∂c' and ``forget`` = ∂c'/∂c, and the backward pass
    multiplies.
    """

    rows: ClassVar[int] = 4
    hidden_rows: ClassVar[slice] = slice(0, 4)
    input_rows: ClassVar[slice] = slice(0, 4)

    def blocks(self, hidden: int, inputs: int) -> list[Block]:
        """Say where the parameters lie in ``w``."""
        everything = slice(0, 4 * hidden)
        return blocks([("ih", everything, everything), ("hh", everything, everything)], hidden, inputs)

    def buffers(self, lanes: int, steps: int, batch: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """Shapes of what training keeps per step."""
        return {"open": (steps, lanes, batch, hidden), "forget": (steps, lanes, batch, hidden)}

    def scratch(self, lanes: int, batch: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """Shapes of step-sized buffers."""
        step = (lanes, batch, hidden)
        return {"pre": (lanes, batch, 4 * hidden), "c": step, "tanh_c": step, "dc": step}

    def step(self, z: Tensor, w: Tensor, scratch: dict[str, Tensor], out: Tensor) -> None:
        """One step without a trace; see :meth:`Cell.step`."""
        c = scratch["c"]
        i, f, g, o = self._gates(product(z, w, scratch["pre"]))
        c.mul_(f).addcmul_(i, g)
        torch.mul(o, tanh(c, scratch["tanh_c"]), out=out)

    def _gates(self, pre: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        H = pre.shape[-1] // 4
        i, f, g, o = torch.split(pre, H, dim=-1)
        pre[..., : 2 * H].sigmoid_()
        tanh(g, g)
        o.sigmoid_()
        return i, f, g, o

    def forward(self, tape: Tape, w: Tensor) -> None:
        """Run all steps; see :meth:`Cell.forward`."""
        c, tanh_c = tape.scratch["c"].zero_(), tape.scratch["tanh_c"]
        for t, delta in enumerate(tape.deltas):
            opened, forget = tape.saved["open"][t], tape.saved["forget"][t]
            i, f, g, o = self._gates(product(tape.steps[t], w, tape.scratch["pre"]))
            d_i, d_f, d_g, d_o = torch.split(delta, c.shape[-1], dim=-1)
            sigmoid_backward(c, f, grad_input=d_f)
            c.mul_(f).addcmul_(i, g)
            tanh(c, tanh_c)
            torch.mul(o, tanh_c, out=tape.hidden[t + 1])
            sigmoid_backward(g, i, grad_input=d_i)
            tanh_backward(i, g, grad_input=d_g)
            sigmoid_backward(tanh_c, o, grad_input=d_o)
            tanh_backward(o, tanh_c, grad_input=opened)
            forget.copy_(f)

    def backward(self, tape: Tape, w_hidden: Tensor, upstream: list[Tensor] | None) -> None:
        """Run the steps backwards; see :meth:`Cell.backward`."""
        dh, dc = tape.scratch["dh"], tape.scratch["dc"].zero_()
        H = dh.shape[-1]
        for t in reversed(range(len(tape.deltas))):
            if upstream is not None:
                dh.add_(upstream[t])
            delta = tape.deltas[t]
            dc.addcmul_(dh, tape.saved["open"][t])
            delta[..., : 3 * H].view(*dc.shape[:2], 3, H).mul_(dc.unsqueeze(-2))
            delta[..., 3 * H :].mul_(dh)
            if t:
                dc.mul_(tape.saved["forget"][t])
                torch.bmm(delta, w_hidden, out=dh)
