"""A GPU for each worker process, where there are several."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "CUDA_VISIBLE_DEVICES"
_DRIVER = Path("/proc/driver/nvidia/gpus")


def visible() -> list[str]:
    """The GPUs that this process may use, as numbers or ids: those of ``CUDA_VISIBLE_DEVICES``, or all."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return [name for name in (part.strip() for part in named.split(",")) if name not in ("", "-1")]
    return [str(number) for number in range(len(list(_DRIVER.glob("*"))))]


def assigned(slot: int) -> dict[str, str]:
    """Environment variables of the worker process of ``slot``: one GPU each, in turn; none where all see the same."""
    gpus = visible()
    return {VARIABLE: gpus[slot % len(gpus)]} if len(gpus) > 1 else {}
