"""The gated recurrent unit as in ``nn.GRU``: n = tanh(xn + r ⊙ hn), h' = (1-z) ⊙ n + z ⊙ h."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from rnn_sweep.lanes.cell import Block, Cell, Tape, blocks, product, sigmoid_backward, tanh, tanh_backward


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

    def step(self, z: Tensor, w: Tensor, scratch: dict[str, Tensor], out: Tensor) -> None:
        """One step without a trace; see :meth:`Cell.step`."""
        self._gates(z, w, scratch, out)

    def _gates(
        self, tape_row: Tensor, w: Tensor, scratch: dict[str, Tensor], out: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        pre, n, H = product(tape_row, w, scratch["pre"]), scratch["n"], out.shape[-1]
        hn, r, z, xn = torch.split(pre, H, dim=-1)
        pre[..., H : 3 * H].sigmoid_()
        tanh(torch.addcmul(xn, r, hn, out=n), n)
        torch.lerp(n, tape_row[..., :H], z, out=out)
        return hn, r, z

    def forward(self, tape: Tape, w: Tensor) -> None:
        """Run all steps; see :meth:`Cell.forward`."""
        n, a = tape.scratch["n"], tape.scratch["a"]
        for t, delta in enumerate(tape.deltas):
            h, carry = tape.hidden[t], tape.saved["carry"][t]
            hn, r, z = self._gates(tape.steps[t], w, tape.scratch, tape.hidden[t + 1])
            d_hn, d_r, d_z, d_xn = torch.split(delta, h.shape[-1], dim=-1)
            torch.sub(h, n, out=a)
            sigmoid_backward(a, z, grad_input=d_z)
            torch.sub(1, z, out=a)
            tanh_backward(a, n, grad_input=d_xn)
            torch.mul(d_xn, hn, out=a)
            sigmoid_backward(a, r, grad_input=d_r)
            torch.mul(d_xn, r, out=d_hn)
            carry.copy_(z)

    def backward(self, tape: Tape, w_hidden: Tensor, upstream: list[Tensor] | None) -> None:
        """Run the steps backwards; see :meth:`Cell.backward`."""
        dh = tape.scratch["dh"]
        rows, H = w_hidden.shape[1], dh.shape[-1]
        for t in reversed(range(len(tape.deltas))):
            if upstream is not None:
                dh.add_(upstream[t])
            delta = tape.deltas[t]
            delta.view(*dh.shape[:2], 4, H).mul_(dh.unsqueeze(-2))
            if t:
                dh.mul_(tape.saved["carry"][t]).baddbmm_(delta[..., :rows], w_hidden)
