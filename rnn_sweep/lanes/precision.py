"""Which product kernels torch uses for fp32 on a CPU, and which number types a precision name stands for."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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


ZEN_5 = 26
"""AMD's CPU family whose cores have 512-bit units: oneDNN was measured at twice MKL's rate on it, and at MKL's on the
family before. Other CPUs are left to MKL, which is torch's own choice."""


def _cpu() -> tuple[str, int]:
    """Vendor and family of this machine's CPU, as Linux tells them; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "", 0
    vendor, family = (re.search(rf"^{key}\s*:\s*(\S+)", text, re.MULTILINE) for key in ("vendor_id", "cpu family"))
    return (vendor[1], int(family[1])) if vendor and family else ("", 0)


@functools.cache
def onednn_pays() -> bool:
    """Say whether fp32 products are left to oneDNN here: by the CPU's kind, not by a measurement.

    Which kernel computes decides how sums are rounded, and a run must give the same bits every time.
    """
    vendor, family = _cpu()
    return vendor == "AuthenticAMD" and family >= ZEN_5 and onednn_is_fp32()


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
