"""What a job leaves behind in its process does not change the next one: launcher × leftover."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient

from rnn_sweep.storage import open_storage
from tests.apps.leaves import STEPS
from tests.conftest import ROOT
from tests.faults.conftest import Record

APP = ROOT / "tests" / "apps" / "leaves.py"
ONE = "hydra.launcher.n_jobs=1"
HYDRAS = ["hydra.job.chdir=true", "+hydra.job.env_set={FLAVOUR:sweet}"]
LAUNCHERS = {
    "basic": ["hydra/launcher=basic"],
    "processes": ["hydra/launcher=processes", ONE],
    "threads": ["hydra/launcher=threads"],
    "threads with a hook": ["hydra/launcher=threads", ONE],
    "joblib": ["hydra/launcher=joblib", ONE],
    "basic, chdir and env_set": ["hydra/launcher=basic", *HYDRAS],
    "processes, chdir and env_set": ["hydra/launcher=processes", ONE, *HYDRAS],
    "threads with a hook, chdir and env_set": ["hydra/launcher=threads", ONE, *HYDRAS],
}
TOLD = {
    "mlflow": r"run 'inner' \(\w{32}\) of MLflow, still open, closed as FINISHED, run 'outer'",
    "folder": "another working folder, /;",
    "environment": r"environment variables (FLAVOUR, )?GIVEN, LEFT;",
    "handlers": "levels, handlers or filters of loggers: root, own;",
    "torch": "default dtype of torch, default device of torch, gradients of torch, deterministic algorithms of torch",
    "numpy": "treatment of errors of numpy;",
    "figures": "1 open figures of matplotlib;",
    "process": r"processes that still run: 'sleep( 120)?' \(\d+\)",
    "signals": "handlers of SIGTERM, and an alarm;",
    "start_method": "start method spawn of multiprocessing;",
    "stream": "another sys.stdout;",
}
"""What is said; of levels what is said of handlers, and of random states nothing."""


def leftovers(launcher: str) -> list[str]:
    """What a job can leave behind with a launcher.

    Only a main thread handles signals, and joblib sets a start method by itself.
    """
    cannot = {"joblib": "start_method", "threads with a hook": "signals"}.get(launcher.partition(",")[0])
    return [what for what in STEPS if what != cannot]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("leftovers")


@cache
def swept(folders: Path, launcher: str) -> tuple[Path, str, str]:
    """A grid, one job at a time, in which a job that leaves something is followed by one that looks for it."""
    folder = folders / launcher.replace(" ", "")
    folder.mkdir()
    more = {"HOOK": "1"} if "hook" in launcher else {}
    line = ["-m", "hydra/sweeper=grid", "hydra.sweeper.report=false", "hydra.sweep.dir=out", *LAUNCHERS[launcher]]
    env = {"FOLDER": str(folder), "GIVEN": "1", "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/usual.db", **more}
    done = subprocess.run(
        [sys.executable, APP, *line, f"what={','.join(leftovers(launcher))}", "step=leave,look"],
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    logs = "\n".join(path.read_text() for path in sorted(folder.glob("out/*/*.log")))
    return folder, logs, "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("launcher", ["basic", "processes"])
def test_a_search_whose_jobs_leave_their_runs_open(tmp_path: Path, launcher: str, record: Record) -> None:
    """Each would make the next one fail: "Run … is already active"."""
    line = ["-m", "hydra/sweeper=optuna", f"hydra/launcher={launcher}", "hydra.sweeper.n_jobs=1"]
    study = ["hydra.sweeper.n_trials=3", "hydra.sweeper.study_name=s", "hydra.sweeper.report=false"]
    env = {"FOLDER": str(tmp_path), "GIVEN": "1", "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/usual.db"}
    done = subprocess.run(
        [sys.executable, APP, *line, *study, "what=mlflow", "step=leave", "+x=interval(0,1)"],
        cwd=tmp_path,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = optuna.load_study(study_name="s", storage=open_storage(f"journal://{tmp_path}/studies/s.journal"))
    assert [trial.state.name for trial in found.trials] == ["COMPLETE"] * 3
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/other.db")
    other = client.get_experiment_by_name("other")
    assert other is not None
    assert [run.info.status for run in client.search_runs([other.experiment_id])] == ["FINISHED"] * 6
    record(f"every job of a search leaves two runs of MLflow open, launcher {launcher}")


@pytest.mark.parametrize(("launcher", "what"), [(each, what) for each in LAUNCHERS for what in leftovers(each)])
def test_a_job_does_not_change_the_next(folders: Path, launcher: str, what: str, record: Record) -> None:
    """Each kind of state that a job can leave in its process, with each launcher, in processes that start anew."""
    if "joblib" in launcher:
        pytest.importorskip("joblib")
    folder, logs, mistake = swept(folders, launcher)
    assert not mistake
    found = folder / f"found-{what}"
    assert not found.exists(), found.read_text()
    if what in TOLD:
        told = re.findall(rf"the job has left behind: .*{TOLD[what]}", logs)
        assert len(told) == 1, logs
    record(f"a job leaves {what} behind, launcher {launcher}")
