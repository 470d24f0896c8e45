"""The program from Python: what ``python run.py …`` does, without a shell.

::

    from rnn_sweep import compose, run_sweep, train, trials

Overrides are those of the command line. Paths are relative to the working folder, where studies, outputs and
``mlflow.db`` go as well.
"""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rnn_sweep
from rnn_sweep.errors import UserError
from rnn_sweep.tracking.masks import withheld

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

    if GlobalHydra.instance().is_initialized():
        raise UserError("compose() cannot be called within a Hydra application: it has its configuration already")
    try:
        with hydra.initialize_config_dir(str(_program().parent / "conf"), version_base="1.3"):
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
    from rnn_sweep.task import Interrupt, execute, prepare

    overrides = tuple(map(withheld, overrides))
    cfg = compose(*overrides)
    folder = Path("outputs") / f"{datetime.datetime.now():%Y-%m-%d/%H-%M-%S-%f}"
    job = prepare(cfg, folder, overrides)
    folder.mkdir(parents=True, exist_ok=True)
    return execute(job, Interrupt())


def run_sweep(*overrides: str) -> pd.DataFrame:
    """Search with Optuna, in a process of its own whose output is shown, as ``python run.py -m hydra/sweeper=optuna``.

    Returns:
        The study's trials, see :func:`trials`; its name is in ``attrs["study_name"]``.

    Raises:
        UserError: the sweep refused its settings, gave up, or has no complete trial; its message was printed.
    """
    from rnn_sweep.sweep.study import generated_name

    given = [o.removeprefix(_NAME) for o in overrides if o.startswith(_NAME)]
    name = given[-1] if given else generated_name("run")
    storage = [o.partition("=")[2] for o in overrides if o.startswith("hydra.sweeper.storage=")]
    line = [sys.executable, os.path.relpath(_program()), "-m", "hydra/sweeper=optuna", *overrides]
    line += [] if given else [f"{_NAME}{name}"]
    # A notebook's kernel asks for colours and live lines, which the file that it is saved in would keep.
    env = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "CLICOLOR_FORCE")}
    env |= {"TERM": "dumb", "PYTHONUNBUFFERED": "1", "COLUMNS": env.get("COLUMNS", "120")}
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(line, env=env, **streams) as process:  # noqa: S603
        for text in process.stdout or []:
            print(text, end="", flush=True)  # print, and not the terminal's own stream: a notebook shows it
    if process.returncode != 0:
        raise UserError(f"the sweep ended with status {process.returncode}; its last lines say why")
    return trials(name, storage[-1] if storage else None)


def trials(study: str, storage: str | None = None) -> pd.DataFrame:
    """A study's trials as a table, one row for each, by number.

    Columns: ``state``; one for each objective, by its name, with the values of complete trials; one for each
    parameter; ``epochs``, ``seconds`` and ``run_id``.

    Raises:
        UserError: there is no such study.
    """
    import pandas as pd

    from rnn_sweep.commands.studies import find
    from rnn_sweep.report.facts import gather
    from rnn_sweep.sweep.space import bare
    from rnn_sweep.sweep.tally import state_of

    facts = gather(find(study, storage)[0])
    rows = [
        {
            "number": trial.number,
            "state": state_of(trial),
            **(dict(zip(facts.objectives, trial.values, strict=True)) if state_of(trial) == "complete" else {}),
            **{bare(key): trial.params.get(key) for key in facts.keys},
            "epochs": len(trial.intermediate_values),
            "seconds": trial.duration.total_seconds() if trial.duration is not None else None,
            "run_id": trial.user_attrs.get("run_id"),
        }
        for trial in facts.trials
    ]
    columns = ["number", "state", *facts.objectives, *map(bare, facts.keys), "epochs", "seconds", "run_id"]
    table = pd.DataFrame(rows, columns=columns).set_index("number")
    table.attrs["study_name"] = study
    return table


def _program() -> Path:
    """``run.py`` with its ``conf/``: in the working folder or one above it, else beside this package."""
    here = Path.cwd()
    for folder in (here, *here.parents, Path(rnn_sweep.__file__).resolve().parents[1]):
        if (folder / "run.py").is_file() and (folder / "conf" / "config.yaml").is_file():
            return folder / "run.py"
    raise UserError(f"there is no run.py with a conf/ in '{here}', above it, or beside the package")
