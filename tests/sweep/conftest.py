"""Small Hydra applications, run as real processes in a folder of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial

from rnn_sweep.storage import open_storage
from tests import warm
from tests.sweep.inprocess import in_process  # noqa: F401 - a fixture

ROOT = Path(__file__).resolve().parents[2]
APPS = ROOT / "tests" / "apps"


class Sweeps:
    """Starts applications in ``folder`` and reads their studies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []

    def start(self, app: str, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """A sweep (``-m hydra/sweeper=optuna`` is added) in the background, in a process group of its own."""
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        process = warm.Popen(
            [sys.executable, str(APPS / app), "-m", "hydra/sweeper=optuna", "hydra.sweeper.report=false", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": paths, "COLUMNS": "200", "OMP_NUM_THREADS": "1", **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, app: str, *arguments: str, status: int = 0, **env: str) -> tuple[str, str]:
        """A whole sweep; checks its exit status and returns stdout and stderr."""
        process = self.start(app, *arguments, **env)
        out, err = process.communicate(timeout=120)
        assert process.returncode == status, f"status {process.returncode}\n{out}\n{err}"
        return out, err

    def refused(self, app: str, *arguments: str, status: int = 2, **env: str) -> str:
        """A sweep that must end with one message, before it has made anything; returns the message."""
        before = self.files()
        out, err = self.run(app, *arguments, status=status, **env)
        assert "Traceback" not in out + err
        assert self.files() == before
        return err

    def files(self) -> set[Path]:
        """All that lies in the folder."""
        return set(self.folder.rglob("*"))

    def study(self, name: str, url: str | None = None) -> optuna.Study:
        """A study as it is stored now."""
        url = url or f"journal://{self.folder}/studies/{name}.journal"
        return optuna.load_study(study_name=name, storage=open_storage(url))

    def wait_for(self, name: str, condition: Callable[[list[FrozenTrial]], Any]) -> Any:
        """Wait until ``condition`` of the study's trials is true."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if (self.folder / "studies" / f"{name}.journal").exists():
                try:
                    trials = self.study(name).get_trials(deepcopy=False)
                except KeyError:  # the file is there, the study not yet
                    trials = []
                if found := condition(trials):
                    return found
            time.sleep(0.05)
        raise AssertionError(f"{name}: not within a minute")


@pytest.fixture
def sweeps(tmp_path: Path) -> Iterator[Sweeps]:
    """Applications run in ``tmp_path``; what is still running at the end is killed."""
    sweeps = Sweeps(tmp_path)
    yield sweeps
    for process in sweeps.started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
