"""Finalizing a sweep after its last trial: report, the application's own record, results file, and what is printed."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from rnn_sweep.redaction import masked
from rnn_sweep.sweep import lineage
from rnn_sweep.sweep import study as studies
from rnn_sweep.sweep.confirm import confirmed
from rnn_sweep.sweep.counts import count_epochs, count_states
from rnn_sweep.sweep.results import Command, print_leaderboard, print_ways_on, winners, write_results
from rnn_sweep.sweep.verdict import Reason, Verdict

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial


class Report(Protocol):
    """A report that was written; :class:`rnn_sweep.report.write.Report` in fact, which this layer does not know."""

    @property
    def page(self) -> Path:
        """``report.html``."""

    @property
    def pictures(self) -> Sequence[Path]:
        """PNG files."""

    @property
    def note(self) -> str:
        """A summary in Markdown."""


WriteReport = Callable[["Study", Path, Command, str], Report]


def make_report(study: Study, folder: Path, url: str, command: Command, write: WriteReport) -> Report | None:
    """Write the report; None, with a line on stderr, where that fails: the trials are worth more than it."""
    try:
        return write(study, folder, command, masked(url))
    except Exception as error:  # whatever a plot or a full disk raises, the sweep's own results come first
        print(f"the report could not be written: {type(error).__name__}: {error}", file=sys.stderr)
        return None


@dataclass(frozen=True)
class Ended:
    """A sweep after its last trial."""

    study: Study
    url: str
    """Of the study's storage."""
    command: Command
    reason: Reason
    failure: Verdict | None
    """The latest."""
    report: Report | None = None


def summary(ended: Ended) -> dict[str, Any]:
    """What the application's ``rnn_sweep_end`` gets; see :mod:`rnn_sweep.sweep.hooks`."""
    study, written = ended.study, ended.report
    trials = study.get_trials(deepcopy=False)
    best, epochs, counted = winners(study), count_epochs(trials), studies.counted(trials)
    return {
        "reason": ended.reason.value,
        "trials": len(counted),
        "reused": sum(studies.REUSED_ATTR in t.user_attrs for t in counted),
        "best": {**told(best[0]), **_sure(study)} if best else None,
        "counts": count_states(trials),
        "epochs": epochs and {"trained": epochs.trained, "saved": epochs.saved},
        "command": ended.command.resume(study.study_name),
        "note": written.note if written is not None else "",
        "files": [str(path) for path in (written.page, *written.pictures)] if written is not None else [],
    }


def told(trial: FrozenTrial) -> dict[str, Any]:
    """A trial as the summary has the best one."""
    run_id = trial.user_attrs.get("run_id")
    return {"number": trial.number, "values": list(trial.values), "params": trial.params, "run_id": run_id}


def _sure(study: Study) -> dict[str, float]:
    """Of the winner's objective: mean and half of its confidence interval over seeds; nothing if not confirmed."""
    return {
        key: value for each in confirmed(study)[:1] for key, value in (("mean", each.mean), ("margin", each.margin))
    }


def conclude(ended: Ended, config: DictConfig, console: Console) -> None:
    """Write the results file, and print what came out and where it is."""
    study, folder = ended.study, Path(config.hydra.sweep.dir)
    path = write_results(study, folder, masked(ended.url))
    OmegaConf.save(config, folder / "multirun.yaml")
    if winners(study):
        print_leaderboard(study, console)
    console.print(f"results: {path}", soft_wrap=True, markup=False, highlight=False)
    if ended.report is not None:
        console.print(f"report:  {ended.report.page}", soft_wrap=True, markup=False, highlight=False)


def show_ways_on(ended: Ended, folder: Path, console: Console) -> None:
    """Print what may be done next, and why the sweep ended where that is not its budget."""
    study, reason, failure = ended.study, ended.reason, ended.failure
    print_ways_on(study, console, ended.command, studies.shown(ended.url))
    again = lineage.replay(study, folder, ended.command)
    if again is not None:
        console.print(f"its schedule, replayed:\n  {again}", soft_wrap=True, markup=False, highlight=False)
    if reason is not Reason.DONE:
        console.print(f"ended early: {reason.value}")
    if reason is Reason.FAILURES and failure is not None:
        if failure.error is not None:
            traceback.print_exception(failure.error)
        rule = "hydra.sweeper.max_failure_rate"
        print(f"error: too many trials failed ({rule}); the latest: {failure.cause}", file=sys.stderr)
    elif reason is Reason.MISTAKE and failure is not None:
        print(f"error: {failure.cause}", file=sys.stderr)
    elif reason is not Reason.INTERRUPTED and not winners(study):
        latest = f"; the latest failure: {failure.cause}" if failure else ""
        print(f"error: the study has no complete trial that meets its constraints{latest}", file=sys.stderr)
