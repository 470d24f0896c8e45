"""Signals, and mistakes, as a program answers them: an epoch may end, a mistake is one line."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rnn_sweep.errors import UserError

log = logging.getLogger(__name__)


class Interrupt:
    """A wish to stop: the first SIGINT or SIGTERM lets the epoch end, the second stops at once."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        # In a thread: this one may be in the midst of writing to the same stream, which must not be entered twice.
        threading.Thread(target=log.info, args=("stopping after this epoch; once more stops at once",)).start()


@contextmanager
def one_message() -> Iterator[None]:
    """Turn a user's mistake into one line on stderr and exit status 2."""
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


@contextmanager
def terminable() -> Iterator[Interrupt]:
    """Let the epoch end, and the record be closed, when a launcher ends its worker processes with SIGTERM."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield interrupt  # the process is not a worker, and has somebody who handles signals
        return
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Let SIGINT and SIGTERM end the run in order, within the context; a second one raises KeyboardInterrupt."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt  # signals belong to whoever owns the main thread
        return
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    except KeyboardInterrupt:
        raise SystemExit(128 + (interrupt.signal or signal.SIGINT)) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
