"""What a ``_target_`` names: a class or function of the user's own, and the arguments that it takes."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

from rnn_sweep.errors import UserError, near


def resolve(key: str, target: object) -> Callable[..., Any]:
    """Import what ``key`` names, such as ``mypackage.Net``.

    Raises:
        UserError: there is nothing by that name, its module cannot be imported, or it cannot be called.
    """
    if not isinstance(target, str) or "." not in target:
        raise UserError(f"{key} must be the dotted path of a class or function, such as mypackage.Net, got {target!r}")
    try:
        found = pkgutil.resolve_name(target)
    except (ImportError, AttributeError, ValueError) as error:
        rule = "must be importable from the working folder, the script's folder or an installed package"
        raise UserError(f"{key} {rule}, got {target!r}: {error}") from None
    if not callable(found):
        raise UserError(f"{key} must be a class or function, got {target!r}, a {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def arguments(
    prefix: str, target: str, found: Callable[..., Any], given: Mapping[str, Any], offered: Mapping[str, Any]
) -> dict[str, Any]:
    """What to call a target with: the settings that were given, and those that are offered where it takes them.

    Args:
        prefix: of the settings' keys, for messages: ``model`` or ``data``.
        target: its name, for messages.
        found: the target.
        given: settings of the user's, all of which it must take.
        offered: what is known beside them.

    Raises:
        UserError: it does not take a setting, or needs one that nobody gave.
    """
    try:
        parameters = inspect.signature(found).parameters
    except (TypeError, ValueError):  # written in C, without a signature
        return dict(given)
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    names = [name for name, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    for key in given:
        if key not in names and not takes_all:
            raise UserError(f"{prefix}.{key} is not an argument of {target}; {near(key, names)}")
    taken = {**{key: value for key, value in offered.items() if key in names}, **given}
    for name in names:
        if name not in taken and parameters[name].default is inspect.Parameter.empty:
            raise UserError(f"{prefix}.{name} must be given: {target} needs it, got {', '.join(taken) or 'nothing'}")
    return taken
