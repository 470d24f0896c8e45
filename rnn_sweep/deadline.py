"""Work that may hang: an answer in time from what has no limit of its own, and jobs that are watched from outside."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class Overdue(TimeoutError):  # noqa: N818 - what happened, not a mistake
    """A job has outlived the time that it announced, and was killed; the message is one line."""


_mark: Path | None = None
"""The file that whoever watches this process reads; None where nobody does."""


def watched(mark: Path) -> None:
    """Let this process announce its deadlines in the file ``mark``."""
    global _mark
    _mark = mark


@contextmanager
def announced(key: str, seconds: float | None) -> Iterator[None]:
    """Tell whoever watches this process that it hangs if the context is not left within ``seconds`` and some grace.

    Args:
        key: of the setting that sets the limit.
        seconds: None is for ever.
    """
    if _mark is None or seconds is None:
        yield
        return
    with suppress(OSError):  # a full disk: then nobody watches
        _mark.write_text(f"{time.monotonic() + seconds} {late(key, seconds)}\n")
    try:
        yield
    finally:
        with suppress(OSError):
            _mark.write_text("")


def late(key: str, seconds: float) -> str:
    """What is said of a run that is."""
    return f"{key}: the run has not ended within {seconds:g} s"


def missed(mark: Path, grace: float) -> str:
    """What :func:`late` says of the deadline in the file ``mark``, once it is over by ``grace`` seconds; else empty.

    The clock is the machine's, since it started: the same for all of its processes.
    """
    with suppress(OSError):
        end, _, text = mark.read_text().rstrip("\n").partition(" ")
        if text and time.monotonic() > float(end) + grace:
            return text
    return ""


def within(seconds: float, call: Callable[[], object]) -> None:
    """Run ``call`` in a thread and wait for it, up to ``seconds``; one that is late is left to itself.

    Raises:
        TimeoutError: there was no answer in time.
        Exception: whatever the call raised.
    """
    raised: list[BaseException] = []

    def attempt() -> None:
        try:
            call()
        except BaseException as error:  # carried over to the caller's thread, whatever it is
            raised.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    if raised:
        raise raised[0]
