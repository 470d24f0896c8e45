"""The report of a grid: its jobs, as they are in its folder, told as the trials of a study that is in memory only."""

from __future__ import annotations

import datetime
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from rnn_sweep.errors import Damaged
from rnn_sweep.files import RESULT_FILE, read_result
from rnn_sweep.outcome import State, maximized
from rnn_sweep.report.write import write
from rnn_sweep.storage import quiet
from rnn_sweep.sweep import study_metadata
from rnn_sweep.sweep.finalize import told
from rnn_sweep.sweep.grid_folder import begun, own
from rnn_sweep.sweep.hooks import PAGES_ATTR
from rnn_sweep.sweep.identity import TYPED
from rnn_sweep.sweep.results import Command, print_leaderboard

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.study import StudyDirection
    from optuna.trial import FrozenTrial

    from rnn_sweep.sweep.grid import Grid

log = logging.getLogger(__name__)

SPREAD = 50
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""


def tell(grid: Grid) -> dict[str, Any]:
    """Write ``report.html`` and its pictures into the grid's folder and print the leaderboard.

    Returns:
        What ``rnn_sweep_end`` gets, as :mod:`rnn_sweep.sweep.hooks` describes it; empty where no job has left a result,
        or, with a line on stderr, where the report could not be written.
    """
    try:
        study = as_study(grid)
        if study is None:
            return {}
        report = write(study, grid.folder, Command(sys.argv[1:]), None)
    except Exception as error:  # whatever a plot or a full disk raises, the runs are worth more than their report
        print(f"the report could not be written: {type(error).__name__}: {error}", file=sys.stderr)
        return {}
    console = Console()
    if report.stats.best is not None:
        print_leaderboard(study, console)
    console.print(f"report:  {report.page}", soft_wrap=True, markup=False, highlight=False)
    best = report.stats.best
    files = [str(path) for path in (report.page, *report.pictures)]
    return {"counts": report.stats.counts, "best": best and told(best), "note": report.note, "files": files}


def as_study(grid: Grid) -> Study | None:
    """The grid's jobs as trials, numbered as Hydra numbers them; None where none has left a result."""
    import optuna

    results = {own(result["overrides"]): (result, at) for result, at in _results(grid)}
    if not results or not grid.objectives:
        return None
    known = begun(grid.folder)
    dists = {key: _distribution([job.values[key] for job in grid.jobs]) for key in grid.space}
    dists = {key: dist for key, dist in dists.items() if not dist.single()}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with quiet():
        study = optuna.create_study(study_name=grid.name, directions=[_direction(name) for name in grid.objectives])
        study.set_metric_names(list(grid.objectives))
    study.set_user_attr(
        study_metadata.ATTR, {**study_metadata.circumstances(Command(sys.argv[1:])), "space": grid.space}
    )
    study.set_user_attr(PAGES_ATTR, dict(grid.pages))
    for job in grid.jobs:
        params = {key: _label(job.values[key]) for key in dists}
        found = results.get(own(job.overrides))
        common = {"params": params, "distributions": dists}
        study.add_trial(
            _trial(*found, grid.objectives, common) if found else _without(own(job.overrides) in known, common)
        )
    return study


def _trial(result: Mapping[str, Any], at: float, objectives: Sequence[str], common: Mapping[str, Any]) -> FrozenTrial:
    """The trial of a result that was written at ``at``, seconds since the epoch."""
    from optuna.trial import TrialState, create_trial

    state = {State.COMPLETE.value: TrialState.COMPLETE, State.INTERRUPTED.value: TrialState.FAIL}
    typed = [override for override in result["overrides"] if not override.startswith(TYPED)]
    notes = {key: result[key] for key in ("state", "cause", "run_id")} | {"overrides": typed}
    trial = create_trial(
        state=state.get(result["state"], TrialState.PRUNED),
        values=result["values"] if result["state"] == State.COMPLETE.value else None,
        user_attrs=notes,
        intermediate_values={
            epoch: row[objectives[0]] for epoch, row in enumerate(result["history"], 1) if objectives[0] in row
        },
        **common,
    )
    trial.datetime_complete = datetime.datetime.fromtimestamp(at)
    trial.datetime_start = trial.datetime_complete - datetime.timedelta(seconds=result["seconds"])
    return trial


def _without(begun: bool, common: Mapping[str, Any]) -> FrozenTrial:
    """The trial of a job without a result: it failed, or it has not begun."""
    from optuna.trial import TrialState, create_trial

    cause = {"cause": "it left no result; its log says why"} if begun else {}
    return create_trial(state=TrialState.FAIL if begun else TrialState.WAITING, user_attrs=cause, **common)


def _results(grid: Grid) -> Iterator[tuple[dict[str, Any], float]]:
    for path in sorted(grid.folder.rglob(RESULT_FILE), key=lambda path: path.stat().st_mtime):
        result = _read(path)
        if result is not None:
            yield result, path.stat().st_mtime


def _read(path: Path) -> dict[str, Any] | None:
    """A job's result; None where it is damaged: the job counts as one without."""
    try:
        return read_result(path)
    except Damaged as error:
        log.warning("%s", error)
        return None


def _direction(objective: str) -> StudyDirection:
    from optuna.study import StudyDirection

    return StudyDirection.MAXIMIZE if maximized(objective) else StudyDirection.MINIMIZE


def _label(value: Any) -> Any:
    """``value`` as Optuna takes a parameter's."""
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)


def _distribution(values: Sequence[Any]) -> BaseDistribution:
    """Where numbers vary between them, else the choices."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return CategoricalDistribution(list(dict.fromkeys(map(_label, values))))
    low, high = min(values), max(values)
    log = low > 0 and high / low >= SPREAD
    kind = IntDistribution if all(isinstance(v, int) for v in values) else FloatDistribution
    return kind(low, high, log=log)
