"""Where a run computes: device, threads and precision, checked against what this machine has."""

from __future__ import annotations

import functools
import logging
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rnn_sweep.config import TrainerConfig
from rnn_sweep.errors import UserError

log = logging.getLogger(__name__)


def choose_device(trainer: TrainerConfig) -> torch.device:
    """Resolve ``trainer.device``; ``auto`` is cuda where there is one, else mps, else cpu.

    Raises:
        UserError: the device, or the precision asked for, is not there.
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
    if trainer.precision == "bf16" and kind == "cpu" and not has_bf16_units():
        _say_that_bf16_is_slow()
    return torch.device(f"{kind}:{index}" if index else kind)


def has_bf16_units() -> bool:
    """Whether this CPU multiplies bfloat16 numbers itself; others go by way of fp32, and take longer than with fp32."""
    arm = platform.machine() in ("aarch64", "arm64")
    found = torch.ops.mkldnn._is_mkldnn_bf16_supported() if arm else torch.cpu._is_avx512_bf16_supported()
    return bool(found)


@functools.cache
def _say_that_bf16_is_slow() -> None:
    log.warning("trainer.precision=bf16: this CPU has no units for bfloat16, so that training is slower than with fp32")


def use_one_thread() -> None:
    """As :func:`one_thread_per_operation`, for the rest of the calling thread's life.

    Half of torch's setting is the thread's own and half the process's (MKL's), so that no thread may take it back while
    others compute: rounding depends on it.
    """
    torch.set_num_threads(1)
    # A thread's first parallel operation would otherwise overwrite its half.
    torch.zeros(1 << 16).add_(1)


@contextmanager
def one_thread_per_operation() -> Iterator[None]:
    """Keep torch from dividing single operations among threads within the block.

    A step of a small network is over before OpenMP's threads have met, and on a busy machine they wait for each other
    in a loop: a run was seen ten times slower for it. The network divides lanes, or a batch, among threads of its own.
    """
    before = torch.get_num_threads()
    use_one_thread()
    try:
        yield
    finally:
        torch.set_num_threads(before)
