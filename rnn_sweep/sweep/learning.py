"""Warm starts (``hydra.sweeper.learn_from=[studies]``): other studies' best points first, their trials as a prior.

A trial of another study is of use as far as its parameters are searched here, too, with values that lie inside this
space. One that has all parameters that a trial has here becomes part of what the sampler learns from
(:mod:`rnn_sweep.sweep.learner`). Which trials were taken stays with the study: a sweep that goes on with it learns from
the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_sweep.errors import UserError
from rnn_sweep.provenance import program
from rnn_sweep.storage import open_storage, quiet
from rnn_sweep.storage.location import is_new_file
from rnn_sweep.sweep import study as studies
from rnn_sweep.sweep.compatibility import ATTR as SWEEP_ATTR
from rnn_sweep.sweep.learner import by_rank
from rnn_sweep.sweep.plan import Plan
from rnn_sweep.sweep.results import ranked
from rnn_sweep.sweep.settings import Settings
from rnn_sweep.sweep.space.conditions import active, ordered
from rnn_sweep.sweep.space.parameters import Param, bare
from rnn_sweep.trial import CONFIRM_ATTR

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

    from rnn_sweep.sweep.space.suggest import Suggester

ATTR = "learn_from"
"""Study attribute: by name of another study, the numbers of its trials that were there when this one began."""
BEST = 3
"""Points of each study that are tried first."""
MOST = 500
"""Trials of each study that a sampler learns from, the latest ones."""
_LEARNS = ("TPESampler", "GPSampler")


@dataclass(frozen=True)
class Lesson:
    """What one other study has to say."""

    name: str
    numbers: Sequence[int]
    """Of its complete trials."""
    points: Sequence[Mapping[str, Any]]
    """To try first, the best one before the others."""
    history: Sequence[FrozenTrial]
    """To learn from, in parameters of this sweep's space, with ranks for values."""

    @property
    def remark(self) -> str:
        """One line for the user."""
        trials = f"{len(self.history)} of its {len(self.numbers)} complete trials are learnt from"
        return f"learning from study {self.name}: first its best points, {len(self.points)} of them; {trials}"


def taught(plan: Plan, stored: Study | None, folder: Path, names: Sequence[str] | None) -> Plan:
    """A plan with what the studies of ``hydra.sweeper.learn_from`` have to say; as it was where there are none.

    Args:
        plan: of the sweep, with a sampler that is settled.
        stored: the study that it goes on with; None for a new one.
        folder: what relative storages are relative to.
        names: of the objectives, where the application tells them.

    Raises:
        UserError: one is not there, of another application or objective, or has no parameter in common.
    """
    wanted = plan.settings.learn_from
    if not wanted:
        return plan
    if plan.settings.study_name in wanted:
        raise UserError(f"hydra.sweeper.learn_from must be other studies, got this one, {plan.settings.study_name!r}")
    noted = {} if stored is None else stored.user_attrs.get(ATTR, {})
    lessons = []
    for name in dict.fromkeys(wanted):
        study = _find(name, plan.settings, folder)
        _check(study, plan.settings, names)
        lessons.append(lesson(study, plan.suggester, noted.get(name), frozenset(c.text for c in plan.constraints)))
    points = [dict(point) for each in lessons for point in each.points]
    history = [trial for each in lessons for trial in each.history] if _learns(plan.settings.sampler) else []
    remarks = [each.remark if history else each.remark.rpartition(";")[0] for each in lessons]
    known = {each.name: list(each.numbers) for each in lessons}
    return replace(
        plan,
        points=[*plan.points, *points],
        history=history,
        learnt=known,
        remarks=[*plan.remarks, *remarks],
    )


def note(plan: Plan, study: Study) -> None:
    """Write on the study which trials it has learnt from, those of earlier sweeps first."""
    known = study.user_attrs.get(ATTR, {})
    if plan.learnt and not plan.learnt.keys() <= known.keys():
        study.set_user_attr(ATTR, {**plan.learnt, **known})


def lesson(study: Study, suggester: Suggester, numbers: Sequence[int] | None, constraints: frozenset[str]) -> Lesson:
    """What a study has to say to a sweep.

    Args:
        study: the other study.
        suggester: of the sweep.
        numbers: of the trials that were taken before; None for all that are complete.
        constraints: texts of those that the sweep has; trials without values for them are not learnt from.

    Raises:
        UserError: no trial of it has a parameter in common with the sweep.
    """
    from optuna.trial import TrialState

    complete = [
        trial
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if CONFIRM_ATTR not in trial.user_attrs and (numbers is None or trial.number in numbers)
    ]
    found = {trial.number: translated(trial, suggester) for trial in complete}
    if not any(point for point, _ in found.values()):
        raise UserError(_nothing_shared(study, suggester))
    points: list[Mapping[str, Any]] = []
    for trial in ranked(study):
        point = found.get(trial.number, ({}, False))[0]
        if point and point not in points and len(points) < BEST:
            points.append(point)
    history = [
        _as_own(rank, found[trial.number][0], suggester)
        for trial, rank in zip(complete, by_rank(complete), strict=True)
        if found[trial.number][1] and constraints <= trial.constraints.keys()
    ]
    return Lesson(study.study_name, list(found), points, history[-MOST:])


def translated(trial: FrozenTrial, suggester: Suggester) -> tuple[dict[str, Any], bool]:
    """A trial's parameters as far as they are inside a sweep's space, and whether no other is needed there."""
    given = {bare(key): value for key, value in trial.params.items()}
    point: dict[str, Any] = {}
    chosen: dict[str, Any] = {}
    whole = True
    for param in ordered(suggester.space, suggester.conditions):
        if not active(param, suggester.conditions, chosen, suggester.default):
            continue
        name = bare(param.key)
        if name in given and _fits(param, given[name]):
            point[param.key] = given[name]
            chosen[name] = param.tidy(given[name])
        else:
            whole = False
    return point, whole


def _fits(param: Param, value: Any) -> bool:
    choices = getattr(param.distribution, "choices", None)
    if choices is None:
        return param.contains(value) and (isinstance(value, int) or not isinstance(param.distribution.low, int))  # type: ignore[attr-defined]
    return any(value == each and type(value) is type(each) for each in choices)


def _as_own(trial: FrozenTrial, point: Mapping[str, Any], suggester: Suggester) -> FrozenTrial:
    from optuna.trial import create_trial

    distributions = {key: suggester.space.params[key].distribution for key in point}
    return create_trial(
        values=trial.values, params=dict(point), distributions=distributions, constraints=trial.constraints
    )


def _learns(node: Any) -> bool:
    """Whether a sampler, given as its ``_target_`` node, goes by complete trials whoever asked for them."""
    return node is None or (isinstance(node, Mapping) and str(node.get("_target_")).rpartition(".")[2] in _LEARNS)


def _find(name: str, settings: Settings, folder: Path) -> Study:
    import optuna

    url = studies.storage_url(settings, name, folder)
    missing = UserError(f"hydra.sweeper.learn_from: there is no study {name!r} in {studies.shown(url)}")
    if is_new_file(url):
        raise missing
    storage = open_storage(url)
    if studies.find(storage, name) is None:
        raise missing
    with quiet():
        return optuna.load_study(study_name=name, storage=storage)


def _check(study: Study, settings: Settings, names: Sequence[str] | None) -> None:
    """Check that a study's values mean what those of the sweep do."""
    key, known = f"hydra.sweeper.learn_from: the study {study.study_name!r}", study.user_attrs.get(SWEEP_ATTR)
    if known is None:
        raise UserError(f"{key} is of another program: it was not begun by hydra/sweeper=optuna")
    theirs, ours = Path(known["program"][-1]).name, Path(program()[-1]).name
    if theirs != ours:
        raise UserError(f"{key} is of another application, {theirs}; this is {ours}")
    directions = [direction.name.lower() for direction in study.directions]
    if directions != list(settings.directions):
        wanted = ", ".join(settings.directions)
        raise UserError(f"{key} has another direction, {', '.join(directions)}; this sweep has {wanted}")
    if study.metric_names is not None and names is not None and list(study.metric_names) != list(names):
        raise UserError(f"{key} has another objective, {', '.join(study.metric_names)}; this is {', '.join(names)}")


def _nothing_shared(study: Study, suggester: Suggester) -> str:
    key = f"hydra.sweeper.learn_from: the study {study.study_name!r}"
    searched = dict.fromkeys(bare(name) for trial in study.get_trials(deepcopy=False) for name in trial.params)
    if not searched:
        return f"{key} has no complete trial to learn from"
    ours = ", ".join(bare(name) for name in suggester.space.params)
    return f"{key} has no complete trial inside this space: it searched {', '.join(searched)}, this sweep {ours}"
