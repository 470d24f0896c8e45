"""Garbage collection, kept away from objects that live as long as the program.

A program imports some hundred thousand objects before it trains. While their number grows the collector looks through
all of them again and again, for a fifth of the time that the imports take, and at the end of the program once more, for
two seconds; it finds next to nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Around a whole program: nothing is collected before :func:`settle`, nor what is there when the program ends."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def settle() -> None:
    """Say, once within :func:`uncollected`, that most of what the program needs is there: collect what comes after.

    Elsewhere it does nothing.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
