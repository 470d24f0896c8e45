"""The parameters of a search space, and which values each of them has. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Label: TypeAlias = "bool | int | float | str | None"


@dataclass(frozen=True)
class Param:
    """One searched parameter."""

    key: str
    """As in an override, with its ``+`` or ``++`` and ``@package``; also its name in the study."""
    distribution: BaseDistribution
    texts: Mapping[Label, str] = field(default_factory=dict)
    """For a choice: what stands behind the ``=`` for each label that the study knows."""

    @property
    def group(self) -> str:
        """The config group that it chooses from, if it is one."""
        return bare(self.key).partition("@")[0]

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

    def contains(self, value: object) -> bool:
        """Whether ``value`` is a number of the interval, on a step where it has any; not for a choice."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        dist: Any = self.distribution
        steps = 0.0 if dist.step is None else (value - dist.low) / dist.step
        return bool(dist.low <= value <= dist.high and abs(steps - round(steps)) < 1e-8)

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
    typed: frozenset[str] = frozenset()
    """Keys, as they are called in the configuration, that the command line gave."""


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
