"""The program from Python: what ``python run.py …`` does, without a shell.

::

    from rnn_sweep import Study, compose, run_sweep, train, trials

Overrides are those of the command line. Paths are relative to the working folder, where studies, outputs and
``mlflow.db`` go as well.
"""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rnn_sweep
from rnn_sweep.errors import UserError
from rnn_sweep.files import configuration
from rnn_sweep.redaction import withheld

if TYPE_CHECKING:
    import pandas as pd
    from omegaconf import DictConfig

    from rnn_sweep.outcome import Outcome

_NAME = "hydra.sweeper.study_name="


def compose(*overrides: str) -> DictConfig:
    """The configuration of a run, as Hydra composes it from ``conf/`` and ``overrides``.

    Raises:
        UserError: an override is wrong; the message is Hydra's.
    """
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    from rnn_sweep.hydra_version import BASE

    if GlobalHydra.instance().is_initialized():
        raise UserError("compose() cannot be called within a Hydra application: it has its configuration already")
    try:
        program = _program()
        folder = configuration() if program is None else program.parent / "conf"
        with hydra.initialize_config_dir(str(folder), **BASE):
            return hydra.compose("config", [*map(withheld, overrides)])
    except HydraException as error:
        raise UserError(" ".join(str(error).split())) from None


def train(*overrides: str) -> Outcome:
    """Train one network in this process, with a folder of its own in ``outputs/`` and a run in MLflow.

    Returns:
        State, metrics, and the metrics of each epoch as ``history``.

    Raises:
        UserError: the configuration, the data or the tracking store does not fit.
    """
    from rnn_sweep.application import HOOKS
    from rnn_sweep.application import train as function
    from rnn_sweep.run import lifecycle
    from rnn_sweep.run.job import Application, Place, prepared
    from rnn_sweep.run.seat import Seat

    overrides = tuple(map(withheld, overrides))
    program = _program()
    line = ["rnn-sweep", "train"] if program is None else ["python", os.path.relpath(program)]
    folder = Path("outputs") / f"{datetime.datetime.now():%Y-%m-%d/%H-%M-%S-%f}"
    job = prepared(Application(function, program, HOOKS, line), compose(*overrides), Place(folder, overrides))
    return lifecycle.train(job, Seat())


def run_sweep(*what: str | Callable[..., Any], n_trials: int | None = None) -> pd.DataFrame:
    """Search with Optuna, as ``-m hydra/sweeper=optuna`` does on the command line.

    ::

        run_sweep("experiment=smoke", n_trials=8)
        run_sweep(train, "lr=tag(log,interval(1e-4,1e-1))", n_trials=20)

    Args:
        what: overrides of the command line; before them, where it is not the package's own, a training function under
            :func:`rnn_sweep.main`. A program in a file, and the package's own, run in a process of their own whose
            output is shown; a function that was typed into a notebook runs in this process.
        n_trials: as ``hydra.sweeper.n_trials``.

    Returns:
        The study's trials, see :func:`trials`; its name, for :class:`Study`, is in ``attrs["study_name"]``.

    Raises:
        UserError: the sweep refused its settings, gave up, or has no complete trial; its message was printed.
    """
    from rnn_sweep.sweep.space.grammar import parse_override
    from rnn_sweep.sweep.study import generated_name

    function = what[0] if what and not isinstance(what[0], str) else None
    overrides = [str(each) for each in (what if function is None else what[1:])]
    given = [str(parse_override(o).value()) for o in overrides if o.startswith(_NAME)]
    name = given[-1] if given else generated_name("run")
    storage = [o.partition("=")[2] for o in overrides if o.startswith("hydra.sweeper.storage=")]
    arguments = ["-m", "hydra/sweeper=optuna", *overrides, *([] if given else [f"{_NAME}{name}"])]
    arguments += [] if n_trials is None else [f"hydra.sweeper.n_trials={n_trials}"]
    program = _start(function)
    status = _here(function, arguments) if program is None else _elsewhere([sys.executable, *program, *arguments])
    if status != 0:
        raise UserError(f"the sweep ended with status {status}; its last lines say why")
    return trials(name, storage[-1] if storage else None)


def _start(function: Any) -> list[str] | None:
    """What starts the program of a function after ``python``; None where it is in no file."""
    if function is None:
        program = _program()
        return ["-m", "rnn_sweep", "train"] if program is None else [os.path.relpath(program)]
    application = getattr(function, "application", None)
    if application is None:
        rule = "run_sweep must get a function under rnn_sweep.main, or overrides"
        raise UserError(f"{rule}, got {getattr(function, '__name__', repr(function))}")
    script = application.script
    return None if script is None or not script.is_file() or "ipykernel" in str(script) else [str(script)]


def _here(function: Any, arguments: Sequence[str]) -> int:
    """Run the sweep in this process; its exit status."""
    before = sys.argv
    sys.argv = [function.__name__, *arguments, f"hydra.job.name={function.__name__}"]
    try:
        function()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.argv = before
    return 0


def _elsewhere(line: Sequence[str]) -> int:
    """Run the sweep in a process of its own; its exit status."""
    # A notebook's kernel asks for colours and live lines, which the file that it is saved in would keep.
    env = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "CLICOLOR_FORCE")}
    env |= {"TERM": "dumb", "PYTHONUNBUFFERED": "1", "COLUMNS": env.get("COLUMNS", "120")}
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(line, env=env, **streams) as process:  # noqa: S603
        for text in process.stdout or []:
            print(text, end="", flush=True)  # print, and not the terminal's own stream: a notebook shows it
    return process.returncode


class Study:
    """A study by its name: what ``rnn-sweep leaderboard`` and ``report`` show.

    Args:
        name: of the study.
        storage: where it is, as ``hydra.sweeper.storage``; ``studies/<name>.journal`` when None.

    Raises:
        UserError: there is no such study.
    """

    def __init__(self, name: str, storage: str | None = None) -> None:
        from rnn_sweep.commands.studies import find

        self.name, self._storage = name, storage
        find(name, storage)

    @property
    def trials(self) -> pd.DataFrame:
        """Its trials as they are now; see :func:`trials`."""
        return trials(self.name, self._storage)

    @property
    def best(self) -> pd.Series[Any]:
        """The row of :attr:`trials` of the best complete trial, of several objectives the first of the Pareto front.

        Raises:
            UserError: none is complete.
        """
        from rnn_sweep.commands.studies import find
        from rnn_sweep.sweep.results import winners

        best = winners(find(self.name, self._storage)[0])
        if not best:
            raise UserError(f"study {self.name!r} has no complete trial yet")
        return self.trials.T[best[0].number]

    def report(self, folder: str | Path | None = None) -> Path:
        """Write ``report.html`` and its pictures into ``folder``, else ``reports/<name>``; returns the page."""
        from rnn_sweep.commands.studies import find, folder_name
        from rnn_sweep.redaction import masked
        from rnn_sweep.report.write import write
        from rnn_sweep.sweep.study_metadata import command_of

        found, url = find(self.name, self._storage)
        place = Path("reports", folder_name(self.name)) if folder is None else Path(folder)
        return write(found, place, command_of(found), masked(url)).page


def trials(study: str, storage: str | None = None) -> pd.DataFrame:
    """A study's trials as a table, one row for each, by number.

    Columns: ``state``; one for each objective, by its name, with the values of complete trials; one for each
    parameter; ``epochs``, ``seconds`` and ``run_id``.

    Raises:
        UserError: there is no such study.
    """
    import pandas as pd

    from rnn_sweep.commands.studies import find
    from rnn_sweep.report.stats import gather
    from rnn_sweep.sweep.counts import state_of
    from rnn_sweep.sweep.space.parameters import bare

    stats = gather(find(study, storage)[0])
    rows = [
        {
            "number": trial.number,
            "state": state_of(trial),
            **(dict(zip(stats.objectives, trial.values, strict=True)) if state_of(trial) == "complete" else {}),
            **{bare(key): trial.params.get(key) for key in stats.keys},
            "epochs": len(trial.intermediate_values),
            "seconds": trial.duration.total_seconds() if trial.duration is not None else None,
            "run_id": trial.user_attrs.get("run_id"),
        }
        for trial in stats.trials
    ]
    columns = ["number", "state", *stats.objectives, *map(bare, stats.keys), "epochs", "seconds", "run_id"]
    table = pd.DataFrame(rows, columns=columns).set_index("number")
    table.attrs["study_name"] = study
    return table


def _program() -> Path | None:
    """``run.py`` with its ``conf/``: in the working folder or one above it, or beside this package; None elsewhere."""
    here = Path.cwd()
    for folder in (here, *here.parents, Path(rnn_sweep.__file__).resolve().parents[1]):
        if (folder / "run.py").is_file() and (folder / "conf" / "config.yaml").is_file():
            return folder / "run.py"
    return None
