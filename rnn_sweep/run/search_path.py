"""Where Hydra finds the settings that an application gets by :func:`rnn_sweep.main`, and no other application."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_declared: str | None = None
"""Search path of the application that is being started; None for one that does not use the bridge."""


@contextmanager
def declared(nested: bool) -> Iterator[None]:
    """Let the application that starts within the context have the settings."""
    global _declared
    before, _declared = _declared, "pkg://rnn_sweep.run.keys" + ("_nested" if nested else "")
    try:
        yield
    finally:
        _declared = before


def current() -> str | None:
    """The search path to be added now."""
    return _declared
