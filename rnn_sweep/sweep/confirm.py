"""Confirmation (``hydra.sweeper.confirm=3:5``): the best configurations, trained again with other seeds.

Each of these runs is a trial of the study with an attribute :data:`CONFIRM_ATTR`. They are enqueued once no other trial
is left, in addition to ``n_trials``; no pruner stops them, and what counts, ranks or learns goes by the trials that
they confirm. What is missing is read from the study, so that a sweep which was killed runs only that.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnn_sweep.errors import UserError
from rnn_sweep.storage.identifiers import id_of_trial, storage_of
from rnn_sweep.sweep import replicates
from rnn_sweep.sweep.constraints import feasible, required
from rnn_sweep.sweep.study import SURPLUS_ATTR
from rnn_sweep.trial import CONFIRM_ATTR, PRUNED_ATTR, RETRY_ATTR

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

    from rnn_sweep.sweep.settings import Settings
    from rnn_sweep.sweep.space.suggest import Suggester


@dataclass(frozen=True)
class Confirm:
    """What is to be confirmed."""

    top: int
    """Configurations."""
    seeds: Sequence[int]
    """For each; those after the seeds that the search itself trains with."""

    def __str__(self) -> str:
        """To read."""
        which = f"the best {self.top} configurations" if self.top > 1 else "the best configuration"
        each = " each" if self.top > 1 else ""
        return f"{which} with {len(self.seeds)} more seeds{each} ({self.seeds[0]} to {self.seeds[-1]})"


@dataclass(frozen=True)
class Confirmed:
    """A configuration that was confirmed."""

    trial: FrozenTrial
    """That was found in the search."""
    numbers: Sequence[int]
    """Of the trials that confirm it."""
    values: Mapping[int, float]
    """Of the objective, by seed."""

    @property
    def mean(self) -> float:
        """Of the values."""
        return statistics.fmean(self.values.values())

    @property
    def margin(self) -> float:
        """Half of the confidence interval of the mean; see :func:`rnn_sweep.sweep.replicates.margin`."""
        return replicates.margin(list(self.values.values())) or 0.0


def confirmation(settings: Settings, suggester: Suggester, prefix: str, points: float) -> Confirm | None:
    """What a sweep is to confirm; None for nothing.

    Args:
        settings: of the sweep.
        suggester: of the sweep.
        prefix: before the key ``seed``, see :func:`rnn_sweep.sweep.identity.prefix`.
        points: how many trials the sampler has room for.

    Raises:
        UserError: the sweep has fewer trials, several objectives, or no seed that can be set.
    """
    if settings.confirm is None:
        return None
    top, count = settings.confirm
    key, most = f"hydra.sweeper.confirm={top}:{count}", min(settings.n_trials, points)
    if len(settings.directions) > 1:
        raise UserError(f"{key} needs one objective, got {len(settings.directions)}: a mean has no order among several")
    if top > most:
        raise UserError(f"{key} is of more configurations than the sweep has trials, which are {most:.0f}")
    first = replicates.first_seed(suggester, prefix, "hydra.sweeper.confirm", f"{top}:{count}")
    return Confirm(top, [first + settings.replicates + n for n in range(count)])


def by_value(study: Study) -> list[FrozenTrial]:
    """The complete trials of a search for one objective, the best first and infeasible ones last."""
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    trials = [trial for trial in complete if CONFIRM_ATTR not in trial.user_attrs]
    trials.sort(key=lambda t: t.values[0], reverse=study.directions[0] is StudyDirection.MAXIMIZE)
    names = required(trials)
    return sorted(trials, key=lambda t: not feasible(t, names))


def missing(study: Study, wanted: Confirm) -> list[tuple[FrozenTrial, int]]:
    """The runs that confirmation needs and nobody has enqueued yet: the trial to confirm, and the seed."""
    known = {(_configuration(t), _of(t)["seed"]) for t in _standing(study.get_trials(deepcopy=False))}
    best = configurations(study)[: wanted.top]
    return [(t, seed) for seed in wanted.seeds for t in best if (_configuration(t), seed) not in known]


def enqueue(study: Study, wanted: Confirm) -> int:
    """Enqueue what is missing, unless another trial still runs, whose sweeper then does; returns how many wait."""
    from optuna.trial import TrialState, create_trial

    trials = study.get_trials(deepcopy=False)
    if any(t.state is TrialState.RUNNING and CONFIRM_ATTR not in t.user_attrs for t in trials):
        return 0
    for trial, seed in missing(study, wanted):
        mark = {CONFIRM_ATTR: {"trial": trial.number, "seed": seed}}
        given = {"fixed_params": trial.params}
        study.add_trial(create_trial(state=TrialState.WAITING, user_attrs=mark, system_attrs=given))
    return sum(t.state is TrialState.WAITING for t in _standing(study.get_trials(deepcopy=False)))


def is_due(study: Study, wanted: Confirm) -> bool:
    """Whether confirmation is still to do, or not done."""
    open_ = any(not t.state.is_finished() for t in _standing(study.get_trials(deepcopy=False)))
    return open_ or bool(missing(study, wanted))


def claim(study: Study) -> Trial | None:
    """Begin a confirming trial that waits, beyond the budget of the search; None where none does."""
    import optuna
    from optuna.trial import TrialState

    known, storage = set[tuple[str, int]](), storage_of(study)
    for trial in _standing(study.get_trials(deepcopy=False)):
        run = (_configuration(trial), int(_of(trial)["seed"]))
        waiting, again = trial.state is TrialState.WAITING, run in known
        known.add(run)
        if not waiting or not storage.set_trial_state_values(id_of_trial(trial), state=TrialState.RUNNING):
            continue
        claimed = optuna.trial.Trial(study, id_of_trial(trial))
        if not again:
            return claimed
        claimed.set_user_attr(SURPLUS_ATTR, True)  # of two sweepers that enqueued at once, without a common lock
        study.tell(claimed, state=TrialState.FAIL)
    return None


def override(trial: Trial | FrozenTrial, prefix: str) -> list[str]:
    """The seed of a confirming trial as an override; nothing for any other."""
    mark = trial.user_attrs.get(CONFIRM_ATTR)
    return [] if mark is None else [f"{prefix}{replicates.SEED}={mark['seed']}"]


def told(trial: Trial) -> str:
    """What a confirming trial does, to read; an empty text for any other."""
    mark = trial.user_attrs.get(CONFIRM_ATTR)
    return "" if mark is None else f"confirms trial {mark['trial']}, seed {mark['seed']}"


def confirmed(study: Study) -> list[Confirmed]:
    """The configurations that have a value for each of their seeds, the best mean first.

    Empty while such a run is still to come, and where the search has since found a configuration that is better by its
    value than all that were confirmed.
    """
    from optuna.study import StudyDirection

    if len(study.directions) > 1:
        return []
    trials = _standing(study.get_trials(deepcopy=False))
    if not trials or any(not t.state.is_finished() for t in trials):
        return []
    names = required(trials)
    runs: dict[str, list[FrozenTrial]] = {}
    for trial in trials:
        runs.setdefault(_configuration(trial), []).append(trial)
    candidates = configurations(study)
    if not candidates or _configuration(candidates[0]) not in runs:
        return []
    found = [
        _confirmed(each, runs[_configuration(each)])
        for each in candidates
        if all(t.state.name == "COMPLETE" and feasible(t, names) for t in runs.get(_configuration(each), []))
        and len(runs.get(_configuration(each), [])) > 1
    ]
    return sorted(found, key=lambda c: c.mean, reverse=study.directions[0] is StudyDirection.MAXIMIZE)


def _confirmed(trial: FrozenTrial, runs: Sequence[FrozenTrial]) -> Confirmed:
    values: dict[int, float] = {}
    for run in runs:
        values.setdefault(int(_of(run)["seed"]), float(run.values[0]))
    return Confirmed(trial, [run.number for run in runs], values)


def configurations(study: Study) -> list[FrozenTrial]:
    """The best trial of each configuration of a search that meets the constraints, the best first."""
    found: dict[str, FrozenTrial] = {}
    trials = by_value(study)
    names = required(trials)
    for trial in trials:
        if feasible(trial, names):
            found.setdefault(_configuration(trial), trial)
    return list(found.values())


def _standing(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The confirming trials, without those that were tried again or that two sweepers enqueued at once."""
    again = {t.user_attrs[RETRY_ATTR] for t in trials if RETRY_ATTR in t.user_attrs}
    marked = [t for t in trials if CONFIRM_ATTR in t.user_attrs and t.number not in again]
    return [t for t in marked if SURPLUS_ATTR not in t.user_attrs or PRUNED_ATTR in t.user_attrs]


def _of(trial: FrozenTrial) -> Mapping[str, Any]:
    mark: Mapping[str, Any] = trial.user_attrs[CONFIRM_ATTR]
    return mark


def _configuration(trial: FrozenTrial) -> str:
    """What is the same in trials that differ in nothing but the seed; one that waits has its parameters given."""
    return repr(sorted({**trial.system_attrs.get("fixed_params", {}), **trial.params}.items()))
