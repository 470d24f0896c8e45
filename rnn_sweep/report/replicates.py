"""Configurations that ran with several seeds: means, confidence intervals, and whether the winner stands out."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnn_sweep.sweep.confirm import Confirmed
from rnn_sweep.sweep.replicates import ATTR, CONFIDENCE, margin
from rnn_sweep.sweep.space.parameters import bare

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Group:
    """The complete trials of one configuration, which differ in nothing but their seeds."""

    params: Mapping[str, Any]
    numbers: Sequence[int]
    values: Sequence[float]

    @property
    def mean(self) -> float:
        """Mean of the objective."""
        return statistics.fmean(self.values)

    @property
    def margin(self) -> float | None:
        """Half of the confidence interval of the mean (Student's t); None for a single trial."""
        return margin(self.values)


@dataclass(frozen=True)
class Replicates:
    """All configurations, the best mean first."""

    groups: Sequence[Group]
    p_value: float | None
    """Of Welch's test between the two best; None where one of them ran once, or there is one only."""
    confirmed: bool = False
    """Whether the values are those of confirmation alone, with seeds that the search has not chosen by."""

    @property
    def distinguishable(self) -> bool | None:
        """Whether the winner's lead over the runner-up is more than chance; None where that cannot be said."""
        return None if self.p_value is None else self.p_value < 1 - CONFIDENCE


def replicates(trials: Sequence[FrozenTrial], *, maximize: bool) -> Replicates | None:
    """Group complete trials of one objective by all parameters but seeds; None where nothing ran twice."""
    groups: dict[str, list[FrozenTrial]] = {}
    for trial in trials:
        groups.setdefault(repr(sorted(without_seeds(trial.params).items())), []).append(trial)
    if not any(len(group) > 1 or len(values_of(group[0])) > 1 for group in groups.values()):
        return None
    found = [
        Group(without_seeds(group[0].params), [t.number for t in group], [v for t in group for v in values_of(t)])
        for group in groups.values()
    ]
    found.sort(key=lambda group: group.mean, reverse=maximize)
    return Replicates(found, p_value_of(found[0].values, found[1].values) if len(found) > 1 else None)


def confirmations(found: Sequence[Confirmed]) -> Replicates | None:
    """The same of what was confirmed, the best mean first; None of nothing."""
    groups = [Group(each.trial.params, each.numbers, list(each.values.values())) for each in found]
    p_value = p_value_of(groups[0].values, groups[1].values) if len(groups) > 1 else None
    return Replicates(groups, p_value, confirmed=True) if groups else None


def values_of(trial: FrozenTrial) -> list[float]:
    """The trial's value, or with ``hydra.sweeper.replicates`` that of each of its seeds."""
    rows = trial.user_attrs.get(ATTR)
    return [float(row["values"][0]) for row in rows] if rows else [float(trial.values[0])]


def is_seed(key: str) -> bool:
    """Whether a parameter is a seed, such as ``seed`` and ``data.split_seed``."""
    name = bare(key).rpartition(".")[2]
    return name == "seed" or name.endswith("_seed")


def without_seeds(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that are no seed: what makes a configuration."""
    return {key: value for key, value in params.items() if not is_seed(key)}


def p_value_of(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Of Welch's test that two samples have different means; None where one of them is a single value."""
    if min(len(first), len(second)) < 2:
        return None
    if statistics.pvariance(first) == statistics.pvariance(second) == 0:  # no spread at all: t is 0/0 or infinite
        return 1.0 if first[0] == second[0] else 0.0
    from scipy.stats import ttest_ind  # type: ignore[import-untyped]

    return float(ttest_ind(first, second, equal_var=False).pvalue)
