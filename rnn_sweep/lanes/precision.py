"""Which product kernels torch uses for fp32 on a CPU, and which number types a precision name stands for."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Precision = Literal["fp32", "bf16", "fp64"]
MASTER: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.float32, "fp64": torch.float64}
"""Type of the parameters, their gradients and the head."""
COMPUTE: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp64": torch.float64}
"""Type of the recurrent layers' products and activations."""

FLOATS_EXACT = 1e-5
"""Largest relative error of an fp32 product of 256 terms; bf16's is a hundred times larger."""


def _matmul_settings() -> object | None:
    """Torch's switch for fp32 products through oneDNN, or None (before torch 2.9, or without oneDNN)."""
    settings = getattr(torch.backends.mkldnn, "matmul", None)
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return settings if available and hasattr(settings, "fp32_precision") else None


@contextmanager
def _onednn() -> Iterator[None]:
    settings = _matmul_settings()
    before = getattr(settings, "fp32_precision", None)
    # setattr: the attribute is a property of a module-like object that type stubs do not know
    setattr(settings, "fp32_precision", "bf16")  # noqa: B010
    try:
        yield
    finally:
        setattr(settings, "fp32_precision", before)  # noqa: B010


@functools.cache
def onednn_is_fp32() -> bool:
    """Say whether oneDNN multiplies fp32 matrices in true fp32 when it is let in.

    Torch sends fp32 products to oneDNN instead of MKL only when reduced precision is *permitted*. Whether
    oneDNN makes use of the permission depends on the CPU (matrix tiles do); where it does not, it computes
    in fp32, on some AVX-512 CPUs at twice MKL's rate. So the answer is measured, not assumed: a product is
    compared with float64.
    """
    if _matmul_settings() is None:
        return False
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(4, 64, 256, generator=generator)
    b = torch.rand(4, 256, 256, generator=generator)
    with _onednn():
        measured = torch.bmm(a, b).double()
    exact = torch.bmm(a.double(), b.double())
    return bool(((measured - exact).abs() / exact).max() < FLOATS_EXACT)


WORTHWHILE = 1.3
"""How much faster oneDNN must be: well above what a measurement of milliseconds can be wrong by."""


@functools.cache
def onednn_pays() -> bool:
    """Say whether oneDNN's products are true fp32 here and clearly faster than MKL's, measured in 20 ms.

    Twice as fast on some CPUs with 512-bit units, no faster on those that work in halves.
    """
    if not onednn_is_fp32():
        return False
    a, b, out = torch.rand(8, 64, 160), torch.rand(8, 160, 128), torch.empty(8, 64, 128)

    def seconds() -> float:
        start = time.perf_counter()
        for _ in range(10):
            torch.bmm(a, b, out=out)
        return time.perf_counter() - start

    plain, other = math.inf, math.inf
    for _ in range(6):
        plain = min(plain, seconds())
        with _onednn():
            other = min(other, seconds())
    return plain > WORTHWHILE * other


@contextmanager
def fast_products() -> Iterator[None]:
    """Let fp32 products use the faster kernels inside the block: one choice for the whole process.

    A run's rounding follows from it, so that it must not depend on who is trained beside it.
    """
    if onednn_pays():
        with _onednn():
            yield
    else:
        yield
