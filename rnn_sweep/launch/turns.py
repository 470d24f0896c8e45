"""Admission control of the threads launcher: as many threads compute at once as there are cores."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A fair semaphore: at most ``cores`` threads hold a core at once; first come, first served."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._line: deque[int] = deque()
        self._holders: set[int] = set()
        self._changed = threading.Condition()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a core, and hold it until the context or :meth:`end`."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def begin(self) -> None:
        """Wait for a core, and hold it until :meth:`end`."""
        me = threading.get_ident()
        with self._changed:
            self._line.append(me)
            self._changed.wait_for(lambda: self._line[0] == me and len(self._holders) < self._cores)
            self._line.popleft()
            self._holders.add(me)
            self._changed.notify_all()  # another core may be free for the next in line

    def end(self) -> None:
        """Give the calling thread's core to the next in line, where it holds one."""
        with self._changed:
            self._holders.discard(threading.get_ident())
            self._changed.notify_all()

    def threads(self) -> int:
        """Threads that each holder may use now: where there are fewer holders than cores, the idle ones as well."""
        return max(1, self._cores // max(1, len(self._holders)))
