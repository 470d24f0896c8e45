"""What every test shares: the repository, and runs of ``run.py`` as a user types them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

# A server of MLflow then is two processes; with its job queue it is ten, which take seconds of both cores to start.
os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")

ROOT = Path(__file__).resolve().parent.parent

STUDY, MODEL = "small", "smallest"
SMALL = ["experiment=smoke", "trainer.epochs=4", "model.hidden_dim=16", "hydra.sweeper.sampler.seed=1"]
SPACE = "hydra.sweeper.params={optimizer.lr:'tag(log,interval(1e-6,1e-1))',model.layers:'range(1,3)'}"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run ``run.py`` in an empty folder; returns the finished process, output captured as text."""

    def call(
        *arguments: str, timeout: float = 240, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return call


def command(*arguments: str) -> Sequence[str]:
    """The command line of ``python run.py …``."""
    return [sys.executable, str(ROOT / "run.py"), *arguments]


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep with complete and pruned trials; to be read only."""
    folder = tmp_path_factory.mktemp("swept")
    few = ["hydra.sweeper.n_jobs=1", "hydra.sweeper.pruner.n_startup_trials=2"]
    line = ["-m", "hydra/sweeper=optuna", *SMALL, SPACE, *few, "hydra.sweeper.n_trials=8"]
    names = [f"hydra.sweeper.study_name={STUDY}", f"tracking.register={MODEL}"]
    done = subprocess.run(command(*line, *names), cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder
