"""Live lines at the bottom of a terminal: bars and counts that change, with whatever is printed or logged above them.

A process has one such display at a time, for the runs and the sweep in it. Pipes, notebooks and terminals that cannot
move their cursor have none, and get the plain lines only.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_REFRESH = 4
"""Pictures a second."""
_WIDEST = 100_000
"""Characters: more than any table has."""

_jobs_of: int | None = None
_active = False


def show_jobs() -> None:
    """Say that this process runs a sweep's jobs or starts them: those in it may have bars, those in workers may not."""
    global _jobs_of
    _jobs_of = os.getpid()


def shows_jobs() -> bool:
    """Whether the terminal is that of this process's jobs, and not one that several processes write to."""
    return _jobs_of == os.getpid()


def can_show(console: Console) -> bool:
    """Whether the console can have live lines, and none are there yet."""
    return console.is_terminal and not console.is_dumb_terminal and not console.is_jupyter and not _active


@contextmanager
def live(renderable: RenderableType, console: Console) -> Iterator[None]:
    """Show what changes below all else within the block; nothing where :func:`can_show` says no."""
    global _active
    if not can_show(console):
        yield
        return
    from rich.live import Live

    console.file = console.file  # the stream as it is now, and not what takes its place within the block
    shown = Live(
        renderable,
        console=console,
        refresh_per_second=_REFRESH,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with _above(console):
        _active = True
        try:
            with shown:
                yield
        finally:
            _active = False


class _Above(io.TextIOBase):
    """A stream whose lines appear above the live ones, as long as they are: a terminal wraps them, and copies whole."""

    def __init__(self, stream: TextIO, console: Console) -> None:
        self._stream, self._console = stream, console
        self._begun, self._lock = "", threading.RLock()

    def write(self, text: str) -> int:
        from rich.text import Text

        with self._lock:
            *lines, begun = (self._begun + text).split("\n")
            self._begun = begun.rpartition("\r")[2]  # who draws a line of its own over and over is heard at its end
            if lines:
                self._console.print(Text.from_ansi("\n".join(lines)), soft_wrap=True)
        return len(text)

    def finish(self) -> None:
        """Write the line that was begun."""
        self._stream.write(self._begun)
        self._begun = ""

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def flush(self) -> None:
        self._stream.flush()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding


@contextmanager
def _above(console: Console) -> Iterator[None]:
    """Let what is written to the terminal, by handlers of the root logger as well, appear above the live lines."""
    before = {name: cast(TextIO, getattr(sys, name)) for name in ("stdout", "stderr")}
    ours = {name: _Above(stream, console) for name, stream in before.items() if stream is not None and stream.isatty()}
    for name, proxy in ours.items():
        setattr(sys, name, proxy)
        _redirect({before[name]: cast(TextIO, proxy)})
    try:
        yield
    finally:
        for name, proxy in ours.items():
            if getattr(sys, name) is proxy:
                setattr(sys, name, before[name])
            _redirect({cast(TextIO, proxy): before[name]})
            proxy.finish()


def _redirect(streams: dict[TextIO, TextIO]) -> None:
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream in streams:
            handler.setStream(streams[handler.stream])


@contextmanager
def only_warnings() -> Iterator[None]:
    """Log to the terminal what is worth a warning only, within the block: who draws there shows the rest."""
    shown = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler)
        if handler.level < logging.WARNING and handler.stream.isatty()
    ]
    before = [handler.level for handler in shown]
    for handler in shown:
        handler.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for handler, level in zip(shown, before, strict=True):
            handler.setLevel(level)


def print_table(table: Table, console: Console, title: str = "", style: str = "italic") -> None:
    """Print a table where it fits; where not, one row after another, so that no name and no value is cut in two.

    A pipe gets the table as wide as it is.
    """
    from rich.text import Text

    if title:
        console.print(Text(title, style=style), soft_wrap=True)
    width = console.measure(table, options=console.options.update(max_width=_WIDEST)).maximum
    if not console.is_terminal:
        console.width = max(console.width, width)
    if width <= console.width:
        console.print(table)
        return
    for row in zip(*(column.cells for column in table.columns), strict=True):
        cells = [cell.plain if isinstance(cell, Text) else str(cell) for cell in row]
        named = [f"{column.header} {cell}".strip() for column, cell in zip(table.columns, cells, strict=True) if cell]
        console.print(Text("\n".join(lines(named, console.width))), soft_wrap=True)


def lines(items: Sequence[str], width: int, between: str = "  ", before: str = "  ") -> list[str]:
    """Items in lines of at most ``width`` characters, but for longer items; ``before`` begins all but the first."""
    found: list[str] = []
    for item in items:
        if found and len(found[-1]) + len(between) + len(item) <= width:
            found[-1] += f"{between}{item}"
        else:
            found.append(f"{before}{item}" if found else item)
    return found


def duration(seconds: float) -> str:
    """How long something took: ``1:05:09``, ``1:20`` or, below ten seconds, ``0.4 s``."""
    return f"{seconds:.1f} s" if seconds < 10 else clock(seconds)


def clock(seconds: float) -> str:
    """What runs or is left: ``1:05:09`` or ``1:20``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
