"""The texts that are filled in, in ``pages/``: HTML escaped, Markdown with its special characters escaped."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: Any) -> str:
    """Fill in a file of ``pages/``; a name that the values lack raises ``jinja2.UndefinedError``."""
    return _environment().get_template(template).render(**values)


def markdown(value: object) -> str:
    """``value`` as text that Markdown shows as it is, within one line and one cell of a table."""
    text = " ".join(str(value).split())
    return re.sub(r"([\\`*_{}\[\]<>|#~$])", r"\\\1", text)


def code(value: object) -> str:
    """``value`` as inline code of Markdown, within one line and one cell of a table."""
    text = " ".join(str(value).split()).replace("|", "\\|")
    ticks = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if "`" in text else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def number(value: float | None, digits: int = 6) -> str:
    """A figure to read: six significant digits, ``-`` where there is none."""
    return "-" if value is None else f"{value:.{digits}g}"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("rnn_sweep.report", "pages"),
        autoescape=select_autoescape(["html.j2", "html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"md": markdown, "code": code, "number": number}
    return environment
