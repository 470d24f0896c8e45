"""Steering a study whose trials run. Each function gives one order and returns what to tell the one who gave it.

All raise :class:`~rnn_sweep.errors.UserError` where the order makes no sense; nothing is recorded then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rnn_sweep.errors import UserError, near
from rnn_sweep.storage import quiet
from rnn_sweep.storage.identifiers import id_of_study, id_of_trial, storage_of
from rnn_sweep.sweep import steering, study_metadata
from rnn_sweep.sweep import study as studies
from rnn_sweep.sweep.space.grammar import parse_override
from rnn_sweep.sweep.space.parameters import bare
from rnn_sweep.sweep.space.validate import inside
from rnn_sweep.sweep.status import Worker, budget, workers
from rnn_sweep.trial import PRUNED_ATTR, RETRY_ATTR, STOP_ATTR, YIELD

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

_MOST = 10_000
"""Trials at a time, and trials in addition."""


def pause(study: Study) -> str:
    """Start no more trials; those that run leave a checkpoint after their epoch, to go on later."""
    _check(study)
    paused = steering.pause(steering.orders(study))
    if paused is not None:
        raise UserError(f"study {study.study_name!r} is paused already, by {paused.giver}")
    working = _working(study)
    steering.give(study, steering.PAUSE)
    running = _running(study)
    for trial in running:  # a sweeper would do that within a second; an epoch may be shorter
        _note(study, trial, STOP_ATTR, YIELD)
    told = f"study {study.study_name} is paused: {_count(len(working), 'sweeper')} will start no trial"
    if not running:
        return f"{told}; none is running"
    after = "after their current epoch" if _heeds(study) else "when they come to their end: this program cannot yield"
    return f"{told}; {_count(len(running), 'running trial')} will end {after}"


def go_on(study: Study) -> str:
    """End a pause."""
    _check(study)
    if steering.pause(steering.orders(study)) is None:
        raise UserError(f"study {study.study_name!r} is not paused")
    steering.give(study, steering.CONTINUE)
    working = [worker for worker in workers(steering.attributes(study)) if worker.state != "dead"]
    told = f"study {study.study_name} goes on"
    return f"{told} with {_count(len(working), 'sweeper')}" if working else f"{told}: {_resume(study)}"


def stop(study: Study, number: int) -> str:
    """End one trial as pruned: after its current epoch, or before it begins."""
    from optuna.exceptions import UpdateFinishedTrialError

    _check(study)
    trial = _trial(study, number)
    cause = f"stopped by {steering.giver()}"
    try:
        if trial.state.name == "RUNNING" and not _is_told(study):
            raise UserError(
                f"trial {number} cannot be stopped: the program of study {study.study_name!r} is not told "
                "which trial it runs, it has no key 'trial'"
            )
        _note(study, trial, PRUNED_ATTR, cause)
        _note(study, trial, STOP_ATTR, YIELD)  # for a job that reports no objective with its epochs
        if trial.state.name == "WAITING":
            _drop(study, trial, cause)
    except UpdateFinishedTrialError:
        raise UserError(_over(study, _trial(study, number, ended=True))) from None
    steering.give(study, steering.STOP, trial=number)
    if trial.state.name == "WAITING":
        return f"trial {number} will not run"
    return f"trial {number} ends as pruned after its current epoch"


def add(study: Study, line: Sequence[str]) -> str:
    """Enqueue a point, given as overrides; parameters that are left out are sampled."""
    from optuna.trial import TrialState, create_trial

    _check(study)
    _refuse_population(study, "add")
    params = _point(study, line)
    waiting = create_trial(
        state=TrialState.WAITING,
        user_attrs={"added": steering.giver()},
        system_attrs={"fixed_params": params},
    )
    with quiet():
        trial_id = storage_of(study).create_new_trial(id_of_study(study), template_trial=waiting)
        number = storage_of(study).get_trial(trial_id).number
    steering.give(study, steering.ADD, params=params, trial=number)
    trials = study.get_trials(deepcopy=False)
    most, left = _budget(study), None
    if most is not None:
        left = most - len(studies.counted(trials))
    ahead = sum(t.state.name == "WAITING" and t.number < number for t in trials)
    told = f"trial {number} waits to run"
    if left is not None and left <= ahead:
        return f"{told}, but the budget of {most} trials is used up: `rnn-sweep extend {study.study_name} 1` adds one"
    return told if _alive(study) else f"{told}: {_resume(study)}"


def extend(study: Study, trials: int) -> str:
    """Add to the budget."""
    _check(study)
    _refuse_population(study, "extend")
    _whole("trials", trials, "extend")
    known = _budget(study)
    if known is None:
        raise UserError(f"study {study.study_name!r} has no budget to extend")
    steering.give(study, steering.EXTEND, trials=trials, budget=known)
    told = f"study {study.study_name} has a budget of {_budget(study)} trials, {trials} more"
    return told if _alive(study) else f"{told}: {_resume(study)}"


def set_workers(study: Study, jobs: int, sweeper: str | None = None) -> str:
    """Set how many trials the sweepers that live now, or one of them, have in flight."""
    _check(study)
    _whole("jobs", jobs, "workers")
    working = _working(study)
    if sweeper is not None:
        ids = [worker.id for worker in working]
        if sweeper not in ids:
            raise UserError(
                f"--sweeper: no sweeper {sweeper!r} works on study {study.study_name!r}; {near(sweeper, ids)}"
            )
        working = [worker for worker in working if worker.id == sweeper]
    steering.give(study, steering.WORKERS, jobs=jobs, sweepers=[worker.id for worker in working])
    who = ", ".join(f"{w.id} ({w.host}, process {w.pid})" for w in working)
    return f"{_count(jobs, 'trial')} at a time: sweeper {who}"


def _check(study: Study) -> None:
    if study_metadata.ATTR not in steering.attributes(study):
        raise UserError(f"study {study.study_name!r} cannot be steered: it was not begun by hydra/sweeper=optuna")


def _refuse_population(study: Study, command: str) -> None:
    if _sweep(study).get("evolution"):
        raise UserError(f"{command}: study {study.study_name!r} is a population, whose members and epochs are settled")


def _working(study: Study) -> list[Worker]:
    """The sweepers that may live; at least one."""
    found = [worker for worker in workers(steering.attributes(study)) if worker.state != "dead"]
    if not found:
        most, done = _budget(study), len(studies.counted(study.get_trials(deepcopy=False)))
        raise UserError(
            f"no sweeper works on study {study.study_name!r}, which has {done} of {most} trials: " + _resume(study)
        )
    return found


def _alive(study: Study) -> bool:
    return any(worker.state != "dead" for worker in workers(steering.attributes(study)))


def _resume(study: Study) -> str:
    return f"`rnn-sweep resume {study.study_name}` goes on with it"


def _budget(study: Study) -> int | None:
    return budget(steering.attributes(study))


def _running(study: Study) -> list[FrozenTrial]:
    return [t for t in studies.counted(study.get_trials(deepcopy=False)) if t.state.name == "RUNNING"]


def _trial(study: Study, number: int, *, ended: bool = False) -> FrozenTrial:
    """A trial that waits or runs."""
    trials = study.get_trials(deepcopy=False)
    found = next((t for t in trials if t.number == number), None)
    if found is None:
        numbers = f"0 to {len(trials) - 1}" if trials else "none yet"
        raise UserError(f"study {study.study_name!r} has no trial {number}; its trials: {numbers}")
    if found.state.is_finished() and not ended:
        raise UserError(_over(study, found))
    return found


def _over(study: Study, trial: FrozenTrial) -> str:
    """What to say of a trial that cannot be stopped any more."""
    again = [t for t in study.get_trials(deepcopy=False) if t.user_attrs.get(RETRY_ATTR) == trial.number]
    more = f"; it is tried again as trial {again[-1].number}" if again else ""
    return f"trial {trial.number} has ended: {trial.state.name.lower()}{more}"


def _note(study: Study, trial: FrozenTrial, key: str, value: object) -> None:
    from optuna.exceptions import UpdateFinishedTrialError

    try:
        storage_of(study).set_trial_user_attr(id_of_trial(trial), key, value)
    except UpdateFinishedTrialError:
        if key == PRUNED_ATTR:
            raise


def _drop(study: Study, trial: FrozenTrial, cause: str) -> None:
    """End a trial that waits; it counts where it is another try of one that has counted."""
    from optuna.trial import TrialState

    _note(study, trial, "cause", cause)
    if RETRY_ATTR not in trial.user_attrs:
        _note(study, trial, studies.SURPLUS_ATTR, True)
    single = len(study.directions) == 1  # Optuna knows no pruned trials of several objectives
    storage_of(study).set_trial_state_values(id_of_trial(trial), state=TrialState.PRUNED if single else TrialState.FAIL)


def _point(study: Study, line: Sequence[str]) -> dict[str, Any]:
    """Check overrides against what the study searches."""
    known = study_metadata.params_of(study)
    point: dict[str, Any] = {}
    for text in line:
        override = parse_override(text)
        if override.is_delete() or override.is_sweep_override():
            raise UserError(f"add takes one value for each parameter, such as x=0.1, got {text!r}")
        name = bare(override.get_key_element())
        param = next((each for each in known.values() if bare(each.key) == name), None)
        if param is None:
            raise UserError(f"add: {name!r} is not searched; {near(name, map(bare, known))}")
        point[param.key] = inside(param, override.value(), f"add: {name}")
    if not point:
        raise UserError("add needs a point, such as x=0.1")
    return point


def _heeds(study: Study) -> bool:
    return bool(_sweep(study).get("heeds", True))


def _is_told(study: Study) -> bool:
    return bool(_sweep(study).get("identity", True))


def _sweep(study: Study) -> Mapping[str, Any]:
    noted: Mapping[str, Any] = steering.attributes(study)[study_metadata.ATTR]
    return noted


def _whole(name: str, value: int, command: str) -> None:
    if not 1 <= value <= _MOST:
        raise UserError(f"{command}: the number of {name} must be from 1 to {_MOST}, got {value}")


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
