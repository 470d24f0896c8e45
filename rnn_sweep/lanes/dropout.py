"""Dropout masks from whole random words: ``bernoulli_`` draws number by number, which costs more than a small step."""

from __future__ import annotations

import torch
from torch import Tensor

_BITS = 16
"""Of randomness for each number: the probability is kept to 8e-6."""


def draw_mask(mask: Tensor, keep: float, generator: torch.Generator) -> None:
    """Set each number of ``mask``, any float type, to 1/``keep`` with probability ``keep``, else to 0.

    Args:
        mask: any shape.
        keep: in (0, 1).
        generator: on the mask's device; what is drawn depends on its state and the number of numbers alone.
    """
    count, per_word = mask.numel(), 64 // _BITS
    words = torch.empty(-(-count // per_word), dtype=torch.int64, device=mask.device)
    words.random_(-(2**63), None, generator=generator)
    below = min(max(round(keep * 2**_BITS), 1), 2**_BITS - 1) - 2 ** (_BITS - 1)
    kept = words.view(torch.int16)[:count].view(mask.shape) < below
    mask.copy_(kept).mul_(1 / keep)
