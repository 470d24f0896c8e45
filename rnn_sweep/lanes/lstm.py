"""Long short-term memory as in ``nn.LSTM``: c' = f ⊙ c + i ⊙ g, h' = o ⊙ tanh(c'), rows (i, f, g, o)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from rnn_sweep.lanes.cell import Block, Cell, Tape, blocks
from rnn_sweep.lanes.compiled import compiled, product, tanh


@compiled
def _gates(pre: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    H = pre.shape[-1] // 4
    i, f, g, o = torch.split(pre, H, dim=-1)
    pre.narrow(-1, 0, 2 * H).sigmoid_()
    tanh(g, g)
    o.sigmoid_()
    return i, f, g, o


@compiled
def _forward(
    steps: list[Tensor],
    hidden: list[Tensor],
    deltas: list[Tensor],
    opens: list[Tensor],
    forgets: list[Tensor],
    w_t: Tensor,
    scratch: dict[str, Tensor],
) -> None:
    c, tanh_c = scratch["c"].zero_(), scratch["tanh_c"]
    for t in range(len(deltas)):
        i, f, g, o = _gates(product(steps[t], w_t, scratch["pre"]))
        d_i, d_f, d_g, d_o = torch.split(deltas[t], c.shape[-1], dim=-1)
        torch.ops.aten.sigmoid_backward(c, f, grad_input=d_f)
        c.mul_(f).addcmul_(i, g)
        tanh(c, tanh_c)
        torch.mul(o, tanh_c, out=hidden[t + 1])
        torch.ops.aten.sigmoid_backward(g, i, grad_input=d_i)
        torch.ops.aten.tanh_backward(i, g, grad_input=d_g)
        torch.ops.aten.sigmoid_backward(tanh_c, o, grad_input=d_o)
        torch.ops.aten.tanh_backward(o, tanh_c, grad_input=opens[t])
        forgets[t].copy_(f)


@compiled
def _last_state(x: Tensor, rows: list[Tensor], w_t: list[Tensor], scratch: list[dict[str, Tensor]]) -> Tensor:
    out = x
    for t in range(x.shape[0]):
        inputs = x[t]
        for layer in range(len(rows)):
            z, c = rows[layer], scratch[layer]["c"]
            out = z.narrow(-1, 0, c.shape[-1])
            z.narrow(-1, out.shape[-1], inputs.shape[-1]).copy_(inputs)
            i, f, g, o = _gates(product(z, w_t[layer], scratch[layer]["pre"]))
            c.mul_(f).addcmul_(i, g)
            torch.mul(o, tanh(c, scratch[layer]["tanh_c"]), out=out)
            inputs = out
    return out


@compiled
def _backward(
    deltas: list[Tensor],
    opens: list[Tensor],
    forgets: list[Tensor],
    scratch: dict[str, Tensor],
    w_hidden: Tensor,
    upstream: list[Tensor],
) -> None:
    dh, dc = scratch["dh"], scratch["dc"].zero_()
    H = dh.shape[-1]
    for back in range(len(deltas)):
        t = len(deltas) - 1 - back
        if len(upstream) > 0:
            dh.add_(upstream[t])
        delta = deltas[t]
        dc.addcmul_(dh, opens[t])
        delta.narrow(-1, 0, 3 * H).view(dh.shape[0], dh.shape[1], 3, H).mul_(dc.unsqueeze(-2))
        delta.narrow(-1, 3 * H, H).mul_(dh)
        if t > 0:
            dc.mul_(forgets[t])
            torch.bmm(delta, w_hidden, out=dh)


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

    def forward(self, tape: Tape, w: Tensor) -> None:
        """Run all steps; see :meth:`Cell.forward`."""
        saved = tape.saved
        _forward(tape.steps, tape.hidden, tape.deltas, saved["open"], saved["forget"], w.mT, tape.scratch)

    def last_state(self, x: Tensor, rows: list[Tensor], w: list[Tensor], scratch: list[dict[str, Tensor]]) -> Tensor:
        """Run all steps without a trace; see :meth:`Cell.last_state`."""
        return _last_state(x, rows, [each.mT for each in w], scratch)

    def backward(self, tape: Tape, w_hidden: Tensor, upstream: list[Tensor] | None) -> None:
        """Run the steps backwards; see :meth:`Cell.backward`."""
        _backward(tape.deltas, tape.saved["open"], tape.saved["forget"], tape.scratch, w_hidden, upstream or [])
