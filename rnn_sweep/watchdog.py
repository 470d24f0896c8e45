"""The watchdog of worker processes: a job announces its deadline in a file, and is killed where it outlives that."""

from __future__ import annotations

import time
from collections.abc import Iterator
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
