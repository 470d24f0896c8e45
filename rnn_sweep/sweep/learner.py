"""A sampler that also knows trials of other studies.

For each trial the samplers of Optuna that learn from trials are asked in a study of the moment, in memory: the other
studies' trials come first and this study's own after them, of which each complete one takes the place of one of the
others: what is known of this search counts more and more. Values are taken as the ranks that they have in their own
study, since those of other data, or of shorter training, mean another thing; a sampler that goes by order alone sees
the good ones of each. The study itself holds nothing but its own trials.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from optuna.samplers import BaseSampler

from rnn_sweep.sweep.one_by_one import OneByOne
from rnn_sweep.trial import CONFIRM_ATTR

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, TrialState


class Learner(OneByOne):
    """Asks ``sampler`` with other studies' trials before this study's own.

    Args:
        sampler: one that goes by complete trials, such as TPE.
        history: complete trials of other studies, with parameters and distributions of this one's space.
    """

    def __init__(self, sampler: BaseSampler, history: Sequence[FrozenTrial]) -> None:
        self._sampler, self._history = sampler, list(history)
        self._asked: dict[int, Trial] = {}
        """By number of the trial whose parameters are being chosen, the one that stands for it."""

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value that the other sampler chooses."""
        if trial.number not in self._asked:
            self._asked = {trial.number: self._ask(study, trial)}
        return _suggest(self._asked[trial.number], param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """What the other sampler does then."""
        self._sampler.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Of the other sampler."""
        self._sampler.reseed_rng()

    def _ask(self, study: Study, trial: FrozenTrial) -> Trial:
        import optuna

        own = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        begun = [t for t in own if t.state.name != "WAITING" and CONFIRM_ATTR not in t.user_attrs]
        moment = optuna.create_study(directions=study.directions, sampler=self._sampler)
        complete = sum(t.state.name == "COMPLETE" for t in begun)
        moment.add_trials([*self._history[complete:], *by_rank(begun)])
        moment.enqueue_trial({**trial.system_attrs.get("fixed_params", {}), **trial.params})
        return moment.ask()


def by_rank(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The same trials; the values of complete ones are their ranks among each other, in (0, 1)."""
    from optuna.trial import TrialState, create_trial

    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    columns = [sorted(column) for column in zip(*(trial.values for trial in complete), strict=True)]

    def ranks(trial: FrozenTrial) -> list[float]:
        pairs = zip(columns, trial.values, strict=True)
        return [(bisect_left(all_, v) + bisect_right(all_, v)) / 2 / len(all_) for all_, v in pairs]

    return [
        create_trial(
            state=trial.state,
            values=ranks(trial) if trial.state is TrialState.COMPLETE else None,
            params=trial.params,
            distributions=trial.distributions,
            system_attrs=trial.system_attrs,
            intermediate_values={} if trial.state is TrialState.COMPLETE else trial.intermediate_values,
        )
        for trial in trials
    ]


def _suggest(trial: Trial, name: str, distribution: Any) -> Any:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    ask = trial.suggest_int if isinstance(distribution, IntDistribution) else trial.suggest_float
    return ask(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
