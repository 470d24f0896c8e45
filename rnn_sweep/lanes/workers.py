"""Threads that each drive a range of lanes with single-threaded operations.

A step of a small recurrent network is too short to be divided among the threads of one operation; lanes are
not. Torch releases the interpreter lock inside its operations, so plain threads run side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

R = TypeVar("R")


@contextmanager
def _one_thread_per_operation() -> Iterator[None]:
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _start() -> None:
    # The setting belongs to the thread, whose first parallel operation would otherwise overwrite it.
    torch.set_num_threads(1)
    torch.zeros(1 << 16).add_(1)


class Workers:
    """``count`` threads, the calling one among them."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count - 1, "lanes", initializer=_start) if count > 1 else None

    def run(self, jobs: Sequence[Callable[[], R]]) -> list[R]:
        """Run at most ``count`` jobs side by side; return the results in order or raise the first error."""
        if self._pool is None or len(jobs) == 1:
            return [job() for job in jobs]
        with _one_thread_per_operation():
            others = [self._pool.submit(_without_autograd, job) for job in jobs[1:]]
            try:
                first = jobs[0]()
            finally:
                done = [other.exception() for other in others]
        for error in done:
            if error is not None:
                raise error
        return [first, *(other.result() for other in others)]


def _without_autograd(job: Callable[[], R]) -> R:
    # grad mode is a setting of the thread
    with torch.no_grad():
        return job()
