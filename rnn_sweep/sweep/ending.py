"""After the last trial: the report, the application's own record, the results file, and what is printed."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from rnn_sweep.storage import masked
from rnn_sweep.sweep import study as studies
from rnn_sweep.sweep import tally
from rnn_sweep.sweep.loop import Reason
from rnn_sweep.sweep.results import Command, report, winners, write_results
from rnn_sweep.sweep.verdict import Verdict

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


def summary(study: Study, reason: Reason, command: Command, written: Report | None) -> dict[str, Any]:
    """What the application's ``rnn_sweep_end`` gets; see :mod:`rnn_sweep.sweep.hooks`."""
    trials = study.get_trials(deepcopy=False)
    best, epochs = winners(study), tally.epochs(trials)
    return {
        "reason": reason.value,
        "trials": len(studies.counted(trials)),
        "best": told(best[0]) if best else None,
        "counts": tally.counts(trials),
        "epochs": epochs and {"trained": epochs.trained, "saved": epochs.saved},
        "command": command.resume(study.study_name),
        "note": written.note if written is not None else "",
        "files": [str(path) for path in (written.page, *written.pictures)] if written is not None else [],
    }


def told(trial: FrozenTrial) -> dict[str, Any]:
    """A trial as the summary has the best one."""
    run_id = trial.user_attrs.get("run_id")
    return {"number": trial.number, "values": list(trial.values), "params": trial.params, "run_id": run_id}


def conclude(
    config: DictConfig,
    study: Study,
    url: str,
    reason: Reason,
    failure: Verdict | None,
    command: Command,
    written: Report | None,
    console: Console,
) -> None:
    """Write the results file and print everything."""
    folder = Path(config.hydra.sweep.dir)
    path = write_results(study, folder, masked(url))
    OmegaConf.save(config, folder / "multirun.yaml")
    report(study, console, command, path, studies.shown(url))
    if written is not None:
        console.print(f"report:  {written.page}", soft_wrap=True, markup=False, highlight=False)
    if reason is not Reason.DONE:
        console.print(f"ended early: {reason.value}")
    if reason is Reason.FAILURES and failure is not None:
        if failure.error is not None:
            traceback.print_exception(failure.error)
        rule = "hydra.sweeper.max_failure_rate"
        print(f"error: too many trials failed ({rule}); the latest: {failure.cause}", file=sys.stderr)
    elif reason is not Reason.INTERRUPTED and not winners(study):
        latest = f"; the latest failure: {failure.cause}" if failure else ""
        print(f"error: the study has no complete trial that meets its constraints{latest}", file=sys.stderr)
