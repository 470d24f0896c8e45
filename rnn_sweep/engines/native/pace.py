"""How many steps one call trains, and on how many threads."""

from __future__ import annotations

TICK_SECONDS = 0.2
"""Between two ticks, about; a call into the library trains for that long."""

FIRST_STEPS = 4
"""Of a run's first call, before it is known how long a step takes."""

PROBE_SECONDS = 0.02
"""Of a call that tries a number of threads which was slower."""

MOST_TICKS = 32
"""Ticks, at most, after which a number of threads that was slower is tried again."""


class Pace:
    """How long a step takes, by the number of threads; it decides nothing but speed.

    On a busy machine threads that meet several times a step are slower than one. Which is faster is tried again with
    exponential backoff, so that a moment of other work is soon forgotten and a steady state costs little.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}
        self._better = 0
        self._waited, self._wait = 0, 1

    def threads(self, allowed: int) -> int:
        """How many of the ``allowed`` threads to use now: all, or the calling one alone, whichever is faster."""
        if allowed == 1:
            return 1
        for count in (allowed, 1):
            if count not in self._seconds:
                return count
        better, other = sorted((allowed, 1), key=self._seconds.__getitem__)
        if better != self._better:
            self._better, self._waited, self._wait = better, 0, 1
        if self._waited < self._wait:
            self._waited += 1
            return better
        self._waited, self._wait = 0, min(2 * self._wait, MOST_TICKS)
        return other

    def steps(self, threads: int) -> int:
        """Steps of a call that takes about :data:`TICK_SECONDS`, or :data:`PROBE_SECONDS`."""
        if threads not in self._seconds:
            return FIRST_STEPS
        probe = len(self._seconds) > 1 and self._seconds[threads] > min(self._seconds.values())
        return max(1, int((PROBE_SECONDS if probe else TICK_SECONDS) / self._seconds[threads]))

    def took(self, threads: int, seconds: float) -> None:
        """Take in what a step took."""
        self._seconds[threads] = max(seconds, 1e-7)
