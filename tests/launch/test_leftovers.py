"""``hydra/launcher=processes``: what a job starts is not hindered by its worker, and does not hold its end up."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rnn_sweep.launch.worker import GRACE_SECONDS
from tests.conftest import ROOT
from tests.launch.launching import alive

pytestmark = pytest.mark.slow  # real processes, which are left running on purpose

QUIET = ["hydra/job_logging=disabled", "hydra/hydra_logging=disabled", "hydra.output_subdir=null"]


def sweep(folder: Path, *arguments: str, sweeper: str = "grid") -> str:
    """Run the application that starts things; what it said on stderr."""
    line = ["-m", f"hydra/sweeper={sweeper}", "hydra/launcher=processes", *arguments, *QUIET]
    search = ["hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=2", "hydra.sweeper.report=false"]
    more = search if sweeper == "optuna" else ["hydra.launcher.n_jobs=1"]
    command = [sys.executable, str(ROOT / "tests" / "apps" / "starts.py"), *line, *more]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_processes_of_a_job_start_as_anywhere_else(tmp_path: Path) -> None:
    """Jobs that start processes of their own, with each way of starting, in a fresh interpreter."""
    pytest.importorskip("joblib")
    assert "left running" not in sweep(tmp_path, "how=default,fork,spawn,forkserver,loader,joblib", "x=1")


@pytest.mark.parametrize("sweeper", ["grid", "optuna"])
def test_what_is_left_running_is_named_and_ends(tmp_path: Path, sweeper: str) -> None:
    said = sweep(tmp_path, "how=process,thread", "x=1", sweeper=sweeper)
    assert "a job has left running: " in said
    assert "'endless'" in said
    assert f"ended {GRACE_SECONDS:g} s later without it" in said
    left = [int(number) for number in re.findall(r"process 'endless' \((\d+)\)", said)]
    end = time.monotonic() + 10
    while any(map(alive, left)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(map(alive, left))


def test_the_traceback_of_a_job_names_file_and_line(tmp_path: Path) -> None:
    app = ROOT / "tests" / "apps" / "fate.py"
    line = ["-m", "hydra/sweeper=grid", "hydra/launcher=processes", "fate=raise", "x=1", *QUIET]
    done = subprocess.run([sys.executable, app, *line], cwd=tmp_path, capture_output=True, text=True, check=False)
    number = app.read_text().splitlines().index('        raise RuntimeError("so it was written")') + 1
    assert f'File "{app}", line {number}, in main\n    raise RuntimeError("so it was written")' in done.stderr


def test_a_worker_whose_memory_grows_is_replaced(tmp_path: Path) -> None:
    """By loky, which looks at it a second apart; the next job finds a new process that knows the application."""
    pytest.importorskip("psutil")
    assert "Ran out of input" not in sweep(tmp_path, "how=nothing,grow", "x=1,2,3")
