"""Arguments that a user gives to somebody else's class: their names and types, checked before it is called."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rnn_sweep.errors import UserError, near

_KINDS: Sequence[tuple[str, str, Callable[[Any], bool]]] = (
    ("bool", "true or false", lambda value: isinstance(value, bool)),
    ("int", "an integer", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    ("float", "a number", lambda v: isinstance(v, int | float) and not isinstance(v, bool) and not math.isnan(v)),
    ("str", "a text", lambda value: isinstance(value, str)),
    ("None", "null", lambda value: value is None),
    (r"dict\[.*", "a mapping", lambda value: isinstance(value, Mapping)),
    (r"list\[.*", "a list", lambda value: isinstance(value, Sequence) and not isinstance(value, str)),
    (r"Callable\[.*", "a node with a _target_ that makes a function", callable),
    (r"Base\w+", "a node with a _target_", lambda v: not isinstance(v, str | int | float | Mapping | Sequence)),
)
"""Annotations that values of a configuration can be held against: a pattern, words, and the test."""


def check_arguments(key: str, call: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Check names, and types where the annotation is a union of known ones such as ``int | None``.

    Args:
        key: of the setting whose values they are.
        call: what will be called.
        given: the arguments by name.

    Raises:
        UserError: ``call`` has no such argument, or takes other types.
    """
    parameters = inspect.signature(call).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name, value in given.items():
        if name not in parameters:
            what = getattr(call, "__name__", str(call))
            raise UserError(f"{key}.{name} is not an argument of {what}: {near(str(name), parameters)}")
        kinds = [_kind(part) for part in _parts(parameters[name].annotation)]
        if all(kinds) and not any(test(value) for _, test in filter(None, kinds)):
            words = " or ".join(word for word, _ in filter(None, kinds))
            raise UserError(f"{key}.{name} must be {words}, got {value!r}")


def _parts(annotation: Any) -> list[str]:
    """The members of a union; brackets are left whole."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    parts, depth = [""], 0
    for sign in text:
        depth += (sign in "[(") - (sign in "])")
        if sign == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


def _kind(part: str) -> tuple[str, Callable[[Any], bool]] | None:
    return next(((words, test) for pattern, words, test in _KINDS if re.fullmatch(pattern, part, re.DOTALL)), None)
