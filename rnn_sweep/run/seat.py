"""A run's place in its process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Seat:
    """The place of a run that has its process for itself; a launcher of many in one process has seats of its own.

    Args:
        stop: whether the run was told to stop.
    """

    alone = True
    """Whether the process's generators of random numbers and its terminal are the run's."""
    cores: int | None = None
    """How many cores the run may use now; None leaves it to the run."""

    def __init__(self, stop: Callable[[], bool] = lambda: False) -> None:
        self._stop = stop

    @property
    def stopping(self) -> bool:
        """Whether the run was told to stop after its epoch."""
        return self._stop()

    def take(self) -> bool:
        """Wait for a core to train an epoch with; False where none is to be trained any more."""
        return True

    def leave(self) -> None:
        """Give the core back: what follows is the disk's and the stores'. May be called without having one."""

    def tick(self, steps: int) -> None:
        """Called a few times a second within an epoch, after ``steps`` optimiser steps; what it raises ends the run."""

    def share(self, make: Callable[..., T], *args: object) -> T:
        """What ``make(*args)`` returns, which runs beside this one may have as well."""
        return make(*args)
