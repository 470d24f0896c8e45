"""Mini-batches for all lanes at once, gathered from a data set in memory into buffers that are reused."""

from __future__ import annotations

import threading

import torch
from torch import Tensor


class Batches:
    """Gathers sequences of a data set into training batches, converting and scaling them on the way."""

    def __init__(self, x: Tensor, y: Tensor, *, scale: float = 1.0, device: str | torch.device = "cpu") -> None:
        """Hold ``x`` [N, T, I] (uint8 or float32) and ``y`` [N, …]; batches of ``x`` are scaled by ``scale``."""
        self.x, self.y, self.scale = x.to(device).contiguous(), y.to(device), scale
        self.variance = float(y.double().var(dim=0, correction=0).mean()) if y.is_floating_point() else None
        """Of the targets of a regression, in the mean over their D values; None for classes."""
        self._buffers: dict[tuple[int, int, int], tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        """N, the number of sequences."""
        return len(self.x)

    def slice(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Return sequences ``start`` to before ``stop``, in order, as x [T, B, I] float32 and y [B, …]."""
        return self.x[start:stop].transpose(0, 1) * self.scale, self.y[start:stop]

    def gather(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sequences of ``index`` [K, B] as x [T, K, B, I] float32 and y [K, B, …].

        The returned x is a view of a buffer that the thread's next call of the same shape overwrites.
        """
        K, B = index.shape
        _, T, I = self.x.shape  # noqa: E741
        key = (threading.get_ident(), K, B)
        if key not in self._buffers:
            raw = self.x.new_empty(K * B, T, I)
            self._buffers[key] = raw, torch.empty(K, T, B, I, device=self.x.device)
        raw, batch = self._buffers[key]
        torch.index_select(self.x, 0, index.flatten(), out=raw)
        torch.mul(raw.view(K, B, T, I).transpose(1, 2), self.scale, out=batch)
        return batch.transpose(0, 1), self.y[index]
