"""The settings ``loss`` and ``metrics``: a name, a dotted path, or a mapping with ``_target_`` and arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rnn_sweep.config.schema import Measure
from rnn_sweep.errors import UserError, near


def loss(value: Any, known: Sequence[str]) -> Measure | None:
    """The setting ``loss``; None for the first of the ``known`` ones. Raises :class:`UserError`."""
    if value is None:
        return None
    found = _measure("loss", value, known)
    return None if found == Measure(known[0]) else found


def measures(key: str, value: Any, known: Sequence[str]) -> tuple[Measure, ...]:
    """A list of measures, or one. Raises :class:`UserError`."""
    nodes = [] if value is None else value if isinstance(value, list) else [value]
    found = tuple(_measure(key, node, known) for node in nodes)
    names = [measure.name for measure in found]
    for name in names:
        if names.count(name) > 1 or name in ("loss", "accuracy", "r2"):
            raise UserError(f"{key} must have names of their own, beside loss, accuracy and r2; got {name!r} again")
    return found


def measure_tree(measure: Measure) -> Any:
    """The inverse."""
    return {"_target_": measure.target, **dict(measure.options)} if measure.options else measure.target


def _measure(key: str, value: Any, known: Sequence[str]) -> Measure:
    node = {"_target_": value} if isinstance(value, str) else value
    if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str):
        rule = "must be a name, the dotted path of a class or function, or a mapping with _target_ and its arguments"
        raise UserError(f"{key} {rule}, got {value!r}")
    target = node["_target_"]
    if "." not in target and target not in known:
        way = "or the dotted path of a class or function"
        raise UserError(f"{key} must be one of {', '.join(known)}, {way}; got {target!r}; {near(target, known)}")
    return Measure(target, tuple(sorted((str(k), v) for k, v in node.items() if k != "_target_")))
