"""Text for others to parse: Hydra's override grammar, and the shell that a printed command is pasted into."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_BARE = re.compile(r"[A-Za-z_/][\w./-]*", re.ASCII)
_LOOKS_OTHERWISE = {"null", "true", "false", "nan", "inf"}


def is_bare(text: str) -> bool:
    """Whether the grammar reads ``text`` as itself without quotes."""
    return _BARE.fullmatch(text) is not None and text.lower() not in _LOOKS_OTHERWISE


def quoted(text: str) -> str:
    """``text`` as a quoted string of the override grammar, in which nothing is special, not even ``${``."""
    from hydra.core.override_parser.types import Quote, QuotedString

    escaped = re.sub(r"(\\*)\$\{", lambda m: m.group(1) * 2 + r"\${", text)
    return QuotedString(text=escaped, quote=Quote.single).with_quotes()


def assigned(key: str, text: str) -> str:
    """The override that gives ``key`` the string ``text``."""
    return f"{key}={text if is_bare(text) else quoted(text)}"


def command_line(parts: Sequence[str]) -> str:
    """A command to be pasted into a POSIX shell."""
    return shlex.join(parts)
