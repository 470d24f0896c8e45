"""Suggestions: a trial's values as the overrides of its job."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from rnn_sweep.sweep.space.conditions import Condition, active, ordered
from rnn_sweep.sweep.space.grammar import choice
from rnn_sweep.sweep.space.parameters import Label, Param, Space, bare

if TYPE_CHECKING:
    from optuna import Trial

Extender = Callable[[DictConfig, "Trial"], None]


@dataclass(frozen=True)
class Suggester:
    """Asks a trial for the values of its parameters, define-by-run, so that conditions may leave some out."""

    space: Space
    conditions: Mapping[str, Sequence[Condition]]
    defaults: DictConfig
    """The application's configuration with the fixed overrides alone."""
    extend: Extender | None = None
    """The user's ``custom_search_space``."""

    def overrides(self, trial: Trial) -> list[str]:
        """The values of ``trial`` as overrides, after the fixed ones."""
        chosen: dict[str, Any] = {}
        lines: dict[str, str] = {}
        for param in ordered(self.space, self.conditions):
            if active(param, self.conditions, chosen, self.default):
                value = param.tidy(suggest(trial, param))
                chosen[bare(param.key)] = value
                lines[param.key] = param.override(value)
        if self.extend is not None:
            self.extend(self.defaults, trial)
            for name, value in trial.params.items():
                plain = _plain(value)
                lines.setdefault(name, choice(name, [plain], name).override(plain))
        return [*self.space.fixed, *lines.values()]

    def default(self, key: str) -> Any:
        """The value of ``key`` in the application's own configuration; a group's option by name."""
        choices = self.defaults.hydra.runtime.choices
        if key in choices:
            return choices[key]
        try:
            value = OmegaConf.select(self.defaults, key.partition("@")[0].replace("/", "."))
        except Exception:  # an interpolation that cannot be resolved here: no default is known
            return None
        if OmegaConf.is_config(value):
            return OmegaConf.to_container(value, resolve=True)
        return value.name if isinstance(value, Enum) else value


def suggest(trial: Trial, param: Param) -> Label:
    """One value of ``param`` for ``trial``."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    dist: Any = param.distribution
    if isinstance(dist, CategoricalDistribution):
        return trial.suggest_categorical(param.key, dist.choices)
    if isinstance(dist, IntDistribution):
        return int(trial.suggest_int(param.key, dist.low, dist.high, step=dist.step, log=dist.log))
    return float(trial.suggest_float(param.key, dist.low, dist.high, step=dist.step, log=dist.log))


def _plain(value: Any) -> Any:
    """Python's own number for one of numpy's, which some samplers choose and no override can be written of."""
    return value.item() if hasattr(value, "item") else value


def first_point(suggester: Suggester) -> tuple[dict[str, Label], list[str]]:
    """The application's defaults as a point of the space, and what to say where they lie outside of it.

    A number outside is replaced by the nearest one inside; a default that is no choice is left to the
    sampler.
    """
    point: dict[str, Label] = {}
    chosen: dict[str, Any] = {}
    remarks: list[str] = []
    for param in ordered(suggester.space, suggester.conditions):
        if not active(param, suggester.conditions, chosen, suggester.default):
            continue
        name = bare(param.key)
        value = suggester.default(name)
        found = _choice_for(param, value) if param.texts else _nearest(param.distribution, value)
        if not found:
            if value is not None:
                remarks.append(f"{name}: the default {value!r} is not in the space; the sampler chooses")
            continue
        point[param.key] = chosen[name] = found[0]
        if not param.texts and found[0] != value:
            remarks.append(f"{name}: the default {value!r} is outside of the space; {found[0]!r} is the nearest")
    return point, remarks


def _choice_for(param: Param, value: Any) -> list[Label]:
    """The label of the choice that is ``value``, if there is one."""
    (text,) = choice("", [value], "").texts.values()
    same = [label for label, own in param.texts.items() if own == text]
    if not same and isinstance(value, int | float) and not isinstance(value, bool):
        same = [label for label in param.texts if label == value and not isinstance(label, bool)]  # 1 and 1.0
    return same


def _nearest(dist: Any, value: Any) -> list[Label]:
    """The number of the distribution nearest to ``value``, if that is a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return []
    inside = min(max(value, dist.low), dist.high)
    if dist.step:
        inside = dist.low + round((inside - dist.low) / dist.step) * dist.step
    return [type(dist.low)(inside)]
