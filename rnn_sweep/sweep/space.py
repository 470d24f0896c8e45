"""From Hydra's override grammar to a search space. Pure: no study, no file, no terminal.

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

(The official sweeper takes the stop of a ``range`` as included up to 1.3, and Hydra's meaning from 1.4 on.)
``shuffle(…)`` and ``sort(…)`` have no influence: order means nothing to a sampler.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    Quote,
    QuotedString,
    RangeSweep,
    Sweep,
)
from hydra.errors import HydraException

from rnn_sweep.errors import UserError, near
from rnn_sweep.sweep import numbers

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from optuna.distributions import BaseDistribution

Label: TypeAlias = "bool | int | float | str | None"

_BARE = re.compile(r"[A-Za-z_][\w./-]*", re.ASCII)
_LOOKS_OTHERWISE = {"null", "true", "false", "nan", "inf"}


@dataclass(frozen=True)
class Param:
    """One searched parameter."""

    key: str
    """As in an override, with its ``+`` or ``++`` and ``@package``; also its name in the study."""
    distribution: BaseDistribution
    texts: Mapping[Label, str] = field(default_factory=dict)
    """For a choice: what stands behind the ``=`` for each label that the study knows."""

    def override(self, value: Label) -> str:
        """The override that gives this parameter ``value``, a value of its distribution."""
        return f"{self.key}={self.texts[value] if self.texts else repr(value)}"

    def describe(self) -> str:
        """The values in words."""
        return f"one of {', '.join(self.texts.values())}" if self.texts else describe(self.distribution)

    def corners(self, most: int = 24) -> list[Label]:
        """The ends of the interval, or the choices (at most ``most`` of them, evenly picked)."""
        from optuna.distributions import CategoricalDistribution

        dist = self.distribution
        if isinstance(dist, CategoricalDistribution):
            step = max(1, math.ceil(len(dist.choices) / most))
            return list(dict.fromkeys([*dist.choices[::step], dist.choices[-1]]))
        ends: list[Label] = [dist.low, dist.high]  # type: ignore[attr-defined]
        return list(dict.fromkeys(ends))

    def tidy(self, value: Label) -> Label:
        """``value`` without the float noise of ``low + k * step``: 0.3 and not 0.30000000000000004."""
        step = getattr(self.distribution, "step", None)
        if not isinstance(value, float) or step is None:
            return value
        low = Decimal(str(self.distribution.low))  # type: ignore[attr-defined]
        exact = Decimal(str(step))
        return float(low + round((Decimal(str(value)) - low) / exact) * exact)


@dataclass(frozen=True)
class Space:
    """What varies and what is fixed, in the order in which it was written."""

    params: Mapping[str, Param]
    fixed: Sequence[str]
    """Overrides that hold for every trial."""


def describe(dist: Any) -> str:
    """A distribution in words, such as ``a float from 0.001 to 1.0 (log)``."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(dist, CategoricalDistribution):
        return f"one of {', '.join(map(str, dist.choices))}"
    kind = "an integer" if isinstance(dist, IntDistribution) else "a float"
    plain = dist.step is None or (dist.step == 1 and isinstance(dist, IntDistribution))
    step = "" if plain else f" in steps of {dist.step}"
    return f"{kind} from {dist.low} to {dist.high}{step}{' (log)' if dist.log else ''}"


def bare(key: str) -> str:
    """A key without its ``+``, ``++`` or ``~``: what it is called in the configuration."""
    return key.lstrip("+~")


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
    )


def _put(parsed: dict[str, Param | str], entry: Param | str, key: str) -> None:
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
    if not override.is_sweep_override():
        return override.input_line or ""
    key = override.get_key_element()
    value: Any = override.value()
    tags = set(value.tags) if isinstance(value, Sweep) else set()
    if unknown := tags - {"log"}:
        raise UserError(f"{key}: unknown tag {sorted(unknown)[0]!r}; {near(sorted(unknown)[0], ['log'])}")
    if isinstance(value, IntervalSweep):
        return Param(key, numbers.interval(key, value.start, value.end, None, "log" in tags))
    if isinstance(value, RangeSweep):
        return Param(key, numbers.stepped(key, value, "log" in tags))
    if tags:
        raise UserError(
            f"{key}: choices have no scale; tag(log, …) fits interval and range, got {override.input_line!r}"
        )
    items = list(value.list) if isinstance(value, ChoiceSweep) else list(override.sweep_iterator())
    return choice(key, items, str(override.input_line))


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
    return value if isinstance(value, str) else str(Override._get_value_element_as_str(value))


def _text(item: Any) -> str:
    """One choice as text that Hydra's grammar reads back as the same value."""
    if isinstance(item, QuotedString):
        item = item.text
    if isinstance(item, str):
        plain = _BARE.fullmatch(item) and item.lower() not in _LOOKS_OTHERWISE
        return item if plain else QuotedString(text=item, quote=Quote.single).with_quotes()
    if isinstance(item, bool):
        return str(item).lower()
    if isinstance(item, Sequence):
        return f"[{','.join(map(_text, item))}]"
    if isinstance(item, Mapping):
        pairs = [f"{Override._get_value_element_as_str(key)}:{_text(value)}" for key, value in item.items()]
        return f"{{{','.join(pairs)}}}"
    return str(Override._get_value_element_as_str(item))


def quoted(text: str) -> str:
    """``text`` as a quoted string of the override grammar, in which nothing is special, not even ``${``."""
    escaped = re.sub(r"(\\*)\$\{", lambda m: m.group(1) * 2 + r"\${", text)
    return QuotedString(text=escaped, quote=Quote.single).with_quotes()
