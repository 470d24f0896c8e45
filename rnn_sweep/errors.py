"""What a user can get wrong, as one exception type with one readable message.

Every check in the project raises :class:`UserError` with the key, the rule and the value received. The entry points
turn it into one line on stderr and a non-zero exit status; nothing else in the project prints errors.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable
from pathlib import Path


class UserError(Exception):
    """A mistake in what the user typed or configured. The message stands alone: key, rule, value received."""


class Damaged(UserError):  # noqa: N818 - what is the matter
    """A file that this program wrote cannot be read as it was written; made by :func:`damaged`."""


def damaged(path: str | Path, reason: str) -> Damaged:
    """An error that names a damaged file, what is wrong where in it, and the way out."""
    command = f"rnn-sweep repair {shlex.quote(str(path))}"
    way = f"`{command}` keeps a copy, saves what can be read and says what was lost"
    return Damaged(f"{path} is damaged: {reason}; {way}")


def near(name: str, known: Iterable[str]) -> str:
    """Say which of the ``known`` names ``name`` was probably meant to be.

    Returns a clause such as ``"did you mean 'relu'? (known: relu, tanh)"``; at most twelve known names are listed.
    """
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    listed = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    if close:
        return "did you mean " + " or ".join(f"'{c}'" for c in close) + f"? (known: {listed})"
    return f"known: {listed}"
