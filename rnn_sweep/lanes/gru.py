"""The gated recurrent unit as in ``nn.GRU``: n = tanh(xn + r ⊙ hn), h' = (1-z) ⊙ n + z ⊙ h."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from rnn_sweep.lanes.cell import Block, Cell, Tape, blocks
from rnn_sweep.lanes.compiled import compiled, product, tanh


@compiled
def _gates(tape_row: Tensor, w_t: Tensor, scratch: dict[str, Tensor], out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One step: ``tape_row`` [K, B, Z] to ``out`` [K, B, H], which may be a part of it; returns hn, r and z."""
    pre, n, H = product(tape_row, w_t, scratch["pre"]), scratch["n"], out.shape[-1]
    hn, r, z, xn = torch.split(pre, H, dim=-1)
    pre.narrow(-1, H, 2 * H).sigmoid_()
    tanh(torch.addcmul(xn, r, hn, out=n), n)
    torch.lerp(n, tape_row.narrow(-1, 0, H), z, out=out)
    return hn, r, z


@compiled
def _forward(
    steps: list[Tensor],
    hidden: list[Tensor],
    deltas: list[Tensor],
    carries: list[Tensor],
    w_t: Tensor,
    scratch: dict[str, Tensor],
) -> None:
    n, a = scratch["n"], scratch["a"]
    for t in range(len(deltas)):
        h = hidden[t]
        hn, r, z = _gates(steps[t], w_t, scratch, hidden[t + 1])
        d_hn, d_r, d_z, d_xn = torch.split(deltas[t], h.shape[-1], dim=-1)
        torch.sub(h, n, out=a)
        torch.ops.aten.sigmoid_backward(a, z, grad_input=d_z)
        torch.neg(z, out=a).add_(1)
        torch.ops.aten.tanh_backward(a, n, grad_input=d_xn)
        torch.mul(d_xn, hn, out=a)
        torch.ops.aten.sigmoid_backward(a, r, grad_input=d_r)
        torch.mul(d_xn, r, out=d_hn)
        carries[t].copy_(z)


@compiled
def _last_state(x: Tensor, rows: list[Tensor], w_t: list[Tensor], scratch: list[dict[str, Tensor]]) -> Tensor:
    out = x
    for t in range(x.shape[0]):
        inputs = x[t]
        for layer in range(len(rows)):
            z = rows[layer]
            out = z.narrow(-1, 0, scratch[layer]["n"].shape[-1])
            z.narrow(-1, out.shape[-1], inputs.shape[-1]).copy_(inputs)
            _gates(z, w_t[layer], scratch[layer], out)
            inputs = out
    return out


@compiled
def _backward(
    deltas: list[Tensor], carries: list[Tensor], dh: Tensor, w_hidden: Tensor, upstream: list[Tensor]
) -> None:
    for back in range(len(deltas)):
        t = len(deltas) - 1 - back
        if len(upstream) > 0:
            dh.add_(upstream[t])
        delta = deltas[t]
        delta.view(dh.shape[0], dh.shape[1], 4, dh.shape[2]).mul_(dh.unsqueeze(-2))
        if t > 0:
            dh.mul_(carries[t]).baddbmm_(delta.narrow(-1, 0, w_hidden.shape[1]), w_hidden)


class GRU(Cell):
    """``nn.GRU``. The product's row blocks are (hn, r, z, xn): the first three see h, the last three see x.

    Every delta of a step is proportional to dh, so the forward pass keeps the four factors and the backward
    pass needs a single multiplication for all of them.
    """

    rows: ClassVar[int] = 4
    hidden_rows: ClassVar[slice] = slice(0, 3)
    input_rows: ClassVar[slice] = slice(1, 4)

    def blocks(self, hidden: int, inputs: int) -> list[Block]:
        """Say where the parameters lie in ``w``."""
        h = hidden
        parts = [
            ("hh", slice(2 * h, 3 * h), slice(0, h)),
            ("hh", slice(0, 2 * h), slice(h, 3 * h)),
            ("ih", slice(0, 3 * h), slice(h, 4 * h)),
        ]
        return blocks(parts, hidden, inputs)

    def buffers(self, lanes: int, steps: int, batch: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """Shapes of what training keeps per step."""
        return {"carry": (steps, lanes, batch, hidden)}

    def scratch(self, lanes: int, batch: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """Shapes of step-sized buffers."""
        step = (lanes, batch, hidden)
        return {"pre": (lanes, batch, 4 * hidden), "n": step, "a": step}

    def forward(self, tape: Tape, w: Tensor) -> None:
        """Run all steps; see :meth:`Cell.forward`."""
        _forward(tape.steps, tape.hidden, tape.deltas, tape.saved["carry"], w.mT, tape.scratch)

    def last_state(self, x: Tensor, rows: list[Tensor], w: list[Tensor], scratch: list[dict[str, Tensor]]) -> Tensor:
        """Run all steps without a trace; see :meth:`Cell.last_state`."""
        return _last_state(x, rows, [each.mT for each in w], scratch)

    def backward(self, tape: Tape, w_hidden: Tensor, upstream: list[Tensor] | None) -> None:
        """Run the steps backwards; see :meth:`Cell.backward`."""
        _backward(tape.deltas, tape.saved["carry"], tape.scratch["dh"], w_hidden, upstream or [])
