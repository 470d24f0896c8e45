"""The grammar of the search space: Hydra's override grammar to parameters and distributions. Pure.

====================================  ==================================================================
override                              meaning
====================================  ==================================================================
``x=1,2`` ``x=choice(a,b)``           categorical; lists, dicts, booleans and strings may be choices
``x=range(1,5)`` ``range(0,1,0.25)``  Hydra's meaning: 1, 2, 3, 4 and 0, 0.25, 0.5, 0.75: without the stop
``x=interval(0,1)``                   a float in [0, 1]
``x=int(interval(1,4))``              an integer from 1 to 4, both included
``x=tag(log, interval(1e-4,1))``      the same on a logarithmic scale; also ``tag(log, int(interval(1,64)))``
``optimizer=glob(*)``                 the options of a config group
``x=5`` ``~x`` ``+x=1``               fixed for all trials
====================================  ==================================================================

``shuffle(…)`` and ``sort(…)`` have no influence: order means nothing to a sampler.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    Quote,
    QuotedString,
    RangeSweep,
    Sweep,
    Transformer,
)
from hydra.errors import HydraException

from rnn_sweep.errors import UserError, near
from rnn_sweep.quoting import is_bare
from rnn_sweep.sweep.space import numbers
from rnn_sweep.sweep.space.parameters import Label, Param, Space, bare

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader


def parse_space(params: Mapping[str, object], arguments: Sequence[str], loader: ConfigLoader | None) -> Space:
    """Read the space of ``hydra.sweeper.params`` and of the command line, which wins where both name a key.

    Args:
        params: values by key, each a string in the override grammar, any fixed value, or a mapping with the
        keys of
            an Optuna distribution: ``{type: int|float|categorical, low, high, step, log, choices}``.
        arguments: overrides of the command line.
        loader: needed for ``glob``.

    Raises:
        UserError: a mistake in one of them.
    """
    parsed: dict[str, Param | str] = {}
    for line_key, value in params.items():
        if isinstance(value, Mapping) and "type" in value:
            _put(parsed, _explicit(line_key, value), line_key)
        else:
            line = line_key if value is None and line_key.startswith("~") else f"{line_key}={_written(value)}"
            _put(parsed, read(line, loader), line_key)
    seen: set[str] = set()
    for line in arguments:
        override = parse_override(line, loader)
        key = bare(override.get_key_element())
        if key in seen:
            raise UserError(f"{key} is given twice on the command line; keep one of them: {line!r}")
        seen.add(key)
        _put(parsed, _read(override), key)
    return Space(
        {p.key: p for p in parsed.values() if isinstance(p, Param)},
        [f for f in parsed.values() if isinstance(f, str)],
        frozenset(seen),
    )


def _put(parsed: dict[str, Param | str], entry: Param | str, key: str) -> None:
    """A parameter that is given again keeps its place, which samplers depend on; a fixed value comes last, and wins."""
    if not (isinstance(entry, Param) and isinstance(parsed.get(bare(key)), Param)):
        parsed.pop(bare(key), None)
    parsed[bare(key)] = entry


def read(line: str, loader: ConfigLoader | None = None) -> Param | str:
    """Read one override: a :class:`Param` where it sweeps, else the override as it stands.

    Raises:
        UserError: it breaks the grammar, or its range is not one.
    """
    return _read(parse_override(line, loader))


def parse_override(line: str, loader: ConfigLoader | None = None) -> Override:
    """Parse one override with Hydra's grammar; :class:`UserError` where it does not fit."""
    try:
        (override,) = OverridesParser.create(config_loader=loader).parse_overrides([line])
        return override
    except HydraException as error:
        message = " ".join(str(error).split("See https://")[0].split())
        raise UserError(f"{line!r} is not a valid override: {message}") from None
    except ValueError as error:  # a whole number of thousands of digits
        raise UserError(f"{line[:100]!r}… is not a valid override: {str(error).partition(';')[0]}") from None


def _read(override: Override) -> Param | str:
    check_nesting(override)
    if not override.is_sweep_override():
        return override.input_line or ""
    key = override.get_key_element()
    value: Any = override.value()
    tags = set(value.tags) if isinstance(value, Sweep) else set()
    if unknown := tags - {"log"}:
        raise UserError(f"{key}: unknown tag {sorted(unknown)[0]!r}; {near(sorted(unknown)[0], ['log'])}")
    if isinstance(value, IntervalSweep):
        check_cast(override, value)
        return Param(key, numbers.interval(key, value.start, value.end, None, "log" in tags))
    if isinstance(value, RangeSweep):
        return _range(override, value, "log" in tags)
    if tags:
        raise UserError(
            f"{key}: choices have no scale; tag(log, …) fits interval and range, got {override.input_line!r}"
        )
    items = list(value.list) if isinstance(value, ChoiceSweep) else list(override.sweep_iterator())
    return choice(key, items, str(override.input_line))


def _range(override: Override, value: RangeSweep, log: bool) -> Param:
    """A range; from Hydra 1.4 on a cast changes each of its values and not its ends."""
    key = override.get_key_element()
    if not getattr(value, "transformers", ()):
        return Param(key, numbers.stepped(key, value, log))
    numbers.stepped(key, value, log=False)  # refuses what has no values
    values = numbers.enumerated(key, override.sweep_iterator())
    step = numbers.common_step(values)
    if step is None:
        return choice(key, values, str(override.input_line))
    return Param(key, numbers.interval(key, values[0], values[-1], step, log))


def choice(key: str, items: Sequence[Any], line: str) -> Param:
    """A categorical parameter over parsed grammar elements.

    Raises:
        UserError: no choice, or the same one twice.
    """
    from optuna.distributions import CategoricalDistribution

    if not items:
        raise UserError(f"{key}: there is nothing to choose from in {line!r}")
    texts = [_text(item) for item in items]
    if len(set(texts)) < len(texts):
        twice = next(t for t in texts if texts.count(t) > 1)
        raise UserError(f"{key}: every choice may be there once, got {twice} twice in {line!r}")
    labels = [_label(item, text) for item, text in zip(items, texts, strict=True)]
    if len(set(labels)) < len(labels):  # 1 and true, or 1 and 1.0: equal to Python, not to the user
        labels = list(texts)
    return Param(key, CategoricalDistribution(labels), dict(zip(labels, texts, strict=True)))


def _label(item: Any, text: str) -> Label:
    if isinstance(item, QuotedString):
        return str(item.text)
    return item if item is None or isinstance(item, bool | int | float | str) else text


def _explicit(key: str, node: Mapping[str, Any]) -> Param:
    """A parameter whose distribution is spelt out."""
    known = {"type", "low", "high", "step", "log", "choices"}
    if unknown := sorted(set(node) - known):
        raise UserError(f"hydra.sweeper.params.{key}: unknown key {unknown[0]!r}; {near(str(unknown[0]), known)}")
    if node["type"] == "categorical":
        choices = node.get("choices")
        return choice(key, choices if isinstance(choices, list) else [], str(dict(node)))
    return Param(key, numbers.explicit(key, node))


def _written(value: Any) -> str:
    """A value of ``params`` as the right side of an override: strings as they are written."""
    return value if isinstance(value, str) else str(Transformer.str(value))


def _text(item: Any) -> str:
    """One choice as text that Hydra's grammar reads back as the same value."""
    if isinstance(item, QuotedString):
        item = item.text
    if isinstance(item, str):
        return item if is_bare(item) else QuotedString(text=item, quote=Quote.single).with_quotes()
    if isinstance(item, bool):
        return str(item).lower()
    if isinstance(item, Sequence):
        return f"[{','.join(map(_text, item))}]"
    if isinstance(item, Mapping):
        pairs = [f"{Transformer.str(key)}:{_text(value)}" for key, value in item.items()]
        return f"{{{','.join(pairs)}}}"
    return str(Transformer.str(item))


def check_nesting(override: Override) -> None:
    """Check that there is no sweep inside another one, or inside a list or a mapping: nobody says what that means.

    Raises:
        UserError: there is.
    """
    value = override.value()
    inside = value.list if isinstance(value, ChoiceSweep) else [] if isinstance(value, Sweep) else [value]
    if any(map(_holds_sweep, inside)):
        rule = "a choice, range or interval stands alone after the '='; it cannot be mixed with others or be inside one"
        raise UserError(f"{override.get_key_element()}: {rule}, got {override.input_line!r}")


def _holds_sweep(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_holds_sweep, value))
    return any(map(_holds_sweep, value.values())) if isinstance(value, dict) else isinstance(value, Sweep)


def check_cast(override: Override, value: IntervalSweep) -> None:
    """Check that a cast has not moved the ends of an interval: Hydra's makes 1 of the 1.5 in ``int(interval(1.5,4))``.

    Raises:
        UserError: it has.
    """
    found = re.search(r"interval\(([^()]*)\)", str(override.input_line))
    ends = [part.rpartition("=")[2].strip() for part in found[1].split(",")] if found else []
    if any(end not in (value.start, value.end) for end in map(float, ends) if not math.isnan(end)):
        rule = "an interval of integers needs whole ends"
        raise UserError(f"{override.get_key_element()}: {rule}, got {override.input_line!r}")
