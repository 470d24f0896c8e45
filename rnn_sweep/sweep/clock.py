"""``hydra.sweeper.timeout``: the time that a sweep has, and whether it is enough for another trial."""

from __future__ import annotations

import statistics
import time
from collections import deque

REMEMBERED = 100
"""Trials whose length says how long another one takes."""


class Clock:
    """Runs from its making on.

    Args:
        timeout: seconds of the sweep; None or 0 is no end.
    """

    def __init__(self, timeout: float | None) -> None:
        self._end = time.monotonic() + timeout if timeout else float("inf")
        self._lengths: deque[float] = deque(maxlen=REMEMBERED)

    @property
    def left(self) -> float:
        """Seconds, at least 0."""
        return max(0.0, self._end - time.monotonic())

    def pass_over(self, seconds: float) -> None:
        """Time in which the study was paused does not count."""
        self._end += seconds

    def took(self, seconds: float) -> None:
        """A trial has run to its end in so many seconds."""
        self._lengths.append(seconds)

    def is_up(self) -> bool:
        """Whether a trial of the usual length would not end in time."""
        usual = statistics.median(self._lengths) if self._lengths else 0.0
        return time.monotonic() + usual >= self._end
