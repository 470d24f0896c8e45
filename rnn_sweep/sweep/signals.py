"""Signals of a sweep: Ctrl-C and SIGTERM are counted, and the loop acts on them between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Counts the signals within its context; in a thread other than the main one it counts none.

    Raising ``KeyboardInterrupt`` anywhere would now and then leave a lock of ``concurrent.futures`` held. It is raised
    only while a job may be running in this thread, which nothing else ends.
    """

    def __init__(self) -> None:
        self.count = 0
        self.status = 128 + signal.SIGINT
        """What the program exits with after the first signal, as shells have it: 128 + its number."""
        self._raises_at = 0
        self._first: Callable[[], None] | None = None

    def __enter__(self) -> Stop:
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {n: signal.signal(n, self._handle) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count == 1:
            self.status = 128 + number
            if self._first is not None:  # in a thread: this one may hold any lock
                threading.Thread(target=self._first, daemon=True).start()
        if 0 < self._raises_at <= self.count:
            raise KeyboardInterrupt

    @contextmanager
    def raising(self, first: Callable[[], None] | None = None) -> Iterator[None]:
        """Raise ``KeyboardInterrupt`` at a signal within the context.

        Args:
            first: is called at the first signal instead, in another thread; the second one raises.
        """
        self._first, self._raises_at = first, 1 if first is None else 2
        try:
            yield
        finally:
            self._first, self._raises_at = None, 0
