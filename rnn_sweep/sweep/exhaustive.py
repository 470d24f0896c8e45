"""Every point of a finite space once: what ``sampler=grid`` and ``sampler=brute_force`` promise.

Optuna's own two keep their plan in the numbers of trials (grid) or in a tree of all trials (brute force): a retry or an
enqueued point ends a sweep of the first, and a trial that was killed before all of its parameters were suggested ends
one of the second. Here the parameters of the study's trials are all that is read. A retry, a user's point, a resumed
study and another sweeper's trial thereby count alike, and nothing depends on the order in which they came.
"""

from __future__ import annotations

import math
import random
import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rnn_sweep.errors import UserError
from rnn_sweep.storage.identifiers import id_of_study, storage_of
from rnn_sweep.sweep.one_by_one import OneByOne
from rnn_sweep.sweep.space.conditions import active, ordered
from rnn_sweep.sweep.space.parameters import bare
from rnn_sweep.sweep.study import SURPLUS_ATTR

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from rnn_sweep.sweep.space.suggest import Suggester

Chosen = Mapping[str, Any]


class Exhaustive(OneByOne):
    """Chooses at random among the values below which a point is untried.

    The choices of a trial follow from the seed, the trial's number and the trials before it: a sweep that is
    interrupted and resumed tries what it would have tried anyway.

    Args:
        suggester: of the sweep; says which parameters a point has.
        seed: None for another order each time.
    """

    def __init__(self, suggester: Suggester, seed: int | None = None) -> None:
        self._suggester = suggester
        self._order = ordered(suggester.space, suggester.conditions)
        self._seed = secrets.randbits(32) if seed is None else seed

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value below which a point is untried; any value where there is none."""
        # From the storage: a study that a pruner has filtered shows some of the trials alone.
        points = self._points(storage_of(study).get_all_trials(id_of_study(study), deepcopy=False))
        like = [t for t in points if t.number != trial.number and _begins_with(t, trial.params)]
        values = countable(param_name, param_distribution)
        groups = _by_value(like, param_name, param_distribution)
        free = [v for i, v in enumerate(values) if self._left({**trial.params, param_name: v}, groups[i])]
        generator = random.Random(f"{self._seed} {trial.number} {param_name}")  # noqa: S311 - a search, not a secret
        return generator.choice(free or values)

    def exhausted(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether every point is that of some trial, running ones and failed ones included."""
        return not self._left({}, self._points(trials))

    def repeats(self, trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> bool:
        """Whether another trial has the point that was chosen for ``trial``: two sweepers asked at once.

        Of two that note their points and then look, one at least sees the other's; where both do, both choose again.
        """
        chosen = "fixed_params" not in trial.system_attrs
        return chosen and any(t.number != trial.number and t.params == trial.params for t in self._points(trials))

    def _points(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """The trials that are points of this space with all of their parameters known."""
        keys, open_ = self._suggester.space.params.keys(), self._suggester.extend is not None
        return [t for t in trials if t.params and _whole(t) and (open_ or t.params.keys() <= keys)]

    def _left(self, chosen: Chosen, trials: Sequence[FrozenTrial]) -> bool:
        """Whether a point that begins with ``chosen`` is that of none of ``trials``, which all begin with it."""
        if not trials:
            return True
        following = self._next(chosen, trials)
        if following is None:
            return False
        name, distribution = following
        groups = _by_value(trials, name, distribution)
        values = countable(name, distribution)
        return any(self._left({**chosen, name: v}, groups[i]) for i, v in enumerate(values))

    def _next(self, chosen: Chosen, trials: Sequence[FrozenTrial]) -> tuple[str, BaseDistribution] | None:
        """The parameter that follows after ``chosen``; one of ``custom_search_space`` is known from trials alone."""
        by_name = {bare(p.key): p.tidy(chosen[p.key]) for p in self._order if p.key in chosen}
        for param in self._order:
            if param.key not in chosen and active(param, self._suggester.conditions, by_name, self._suggester.default):
                return param.key, param.distribution
        known = trials[-1].distributions
        extra = (name for name in known if name not in chosen and name not in self._suggester.space.params)
        return next(((name, known[name]) for name in extra), None)


class FiniteSpace:
    """Says when every point of a space was tried, whichever sampler chooses them."""

    def __init__(self, suggester: Suggester, least: float) -> None:
        self._all = Exhaustive(suggester, seed=0)
        self._least = least
        """Points that there are at least."""

    @classmethod
    def of(cls, suggester: Suggester) -> FiniteSpace | None:
        """None of a space whose points nobody will ever count."""
        sizes = {param.key: size(param.distribution) for param in suggester.space.params.values()}
        if not sizes or max(sizes.values()) > MOST_VALUES:
            return None
        return cls(suggester, math.prod(n for key, n in sizes.items() if key not in suggester.conditions))

    def exhausted(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether every point is that of some trial; never where ``custom_search_space`` suggests from intervals."""
        if len(trials) < self._least:
            return False
        try:
            return self._all.exhausted(trials)
        except UserError:
            return False


MOST_VALUES = 100_000
"""Of one parameter; a sweep tries fewer."""


def size(distribution: Any) -> float:
    """The number of a distribution's values; infinite for an interval."""
    from optuna.distributions import CategoricalDistribution

    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    if distribution.step is None:
        return math.inf
    return 1 + float(round((distribution.high - distribution.low) / distribution.step))


def countable(name: str, distribution: Any) -> list[Any]:
    """All values of a distribution.

    Raises:
        UserError: they cannot be counted.
    """
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    low, high, step = distribution.low, distribution.high, distribution.step
    if isinstance(distribution, IntDistribution):
        return list(range(low, high + 1, step))
    if step is None:
        rule = "samplers grid and brute_force need values that can be counted: choice or range"
        raise UserError(f"{bare(name)}: {rule}; got an interval from {low} to {high}")
    return [low + i * step for i in range(round((high - low) / step) + 1)]


def _whole(trial: FrozenTrial) -> bool:
    """Whether all parameters were suggested: a sweeper may be killed in between, and a surplus trial never ran."""
    known = "overrides" in trial.user_attrs or trial.state.name in ("COMPLETE", "PRUNED")
    return known and SURPLUS_ATTR not in trial.user_attrs


def _begins_with(trial: FrozenTrial, params: Chosen) -> bool:
    return all(name in trial.params and trial.params[name] == value for name, value in params.items())


def _by_value(trials: Sequence[FrozenTrial], name: str, distribution: Any) -> Mapping[float, list[FrozenTrial]]:
    """Those of ``trials`` that have the parameter, by the place of its value among all."""
    from optuna.distributions import CategoricalDistribution

    groups: dict[float, list[FrozenTrial]] = defaultdict(list)
    for trial in trials:
        if name not in trial.params:
            continue
        value: Any = trial.params[name]
        if isinstance(distribution, CategoricalDistribution):
            groups[distribution.to_internal_repr(value)].append(trial)
        else:
            groups[round((value - distribution.low) / distribution.step)].append(trial)
    return groups
