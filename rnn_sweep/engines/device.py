"""Where a run computes: device, threads and precision, checked against what this machine has."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rnn_sweep.config import TrainerConfig
from rnn_sweep.errors import UserError


def choose_device(trainer: TrainerConfig) -> torch.device:
    """Resolve ``trainer.device``; ``auto`` is cuda where there is one, else mps, else cpu.

    Raises:
        UserError: the device is not there.
    """
    name = trainer.device
    kind, _, index = name.partition(":")
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind == "auto":
        kind = next(k for k in ("cuda", "mps", "cpu") if available[k])
    if not available[kind]:
        there = ", ".join(k for k, yes in available.items() if yes)
        raise UserError(f"trainer.device must be a device that this machine has ({there}), got {name!r}")
    if index and not (index.isdigit() and kind == "cuda" and int(index) < torch.cuda.device_count()):
        raise UserError(f"trainer.device must name a device that is there, got {name!r}")
    return torch.device(f"{kind}:{index}" if index else kind)


def has_bf16_units() -> bool:
    """Whether torch multiplies bfloat16 numbers on this CPU's own units; others go by way of fp32, and take longer."""
    arm = platform.machine() in ("aarch64", "arm64")
    found = torch.ops.mkldnn._is_mkldnn_bf16_supported() if arm else torch.cpu._is_avx512_bf16_supported()
    return bool(found)


def use_threads(count: int) -> None:
    """Let ``count`` threads divide a single operation of torch, for the rest of the calling thread's life.

    Half of torch's setting is the thread's own and half the process's (MKL's), so that no thread may take it back while
    others compute: rounding depends on it.
    """
    torch.set_num_threads(count)
    # A thread's first parallel operation would otherwise overwrite its half.
    torch.zeros(1 << 16).add_(1)


def use_one_thread() -> None:
    """As :func:`use_threads`, of one: for a thread that trains runs beside others."""
    use_threads(1)


@contextmanager
def one_thread_per_operation() -> Iterator[None]:
    """Keep torch from dividing single operations among threads within the block.

    A step of a small network is over before OpenMP's threads have met, and on a busy machine they wait for each other
    in a loop: a run was seen ten times slower for it.
    """
    before = torch.get_num_threads()
    use_one_thread()
    try:
        yield
    finally:
        torch.set_num_threads(before)
