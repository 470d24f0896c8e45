"""What every test shares: the repository, and runs of ``run.py`` as a user types them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

# A server of MLflow then is two processes; with its job queue it is ten, which take seconds of both cores to start.
os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background: what we start would ignore it, too
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent

STUDY, MODEL = "small", "smallest"
SMALL = ["experiment=smoke", "trainer.epochs=4", "model.hidden_dim=16", "hydra.sweeper.sampler.seed=1"]
SPACE = "hydra.sweeper.params={optimizer.lr:'tag(log,interval(1e-6,1e-1))',model.layers:'range(1,3)'}"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def hydras_state(hydra_restore_singletons: None) -> None:
    """What a test composes in this process, such as Hydra's version base, is not the next one's."""


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


class Leashed:
    """``run.py`` in a folder, which gets ahead of who reads its lines by 4 KiB, some 35 epochs, and then waits.

    So there is time to do something to it after a line, however fast it is and however slow the test.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.process = subprocess.Popen(command(*arguments), cwd=folder, bufsize=0, pipesize=4096, **streams)  # type: ignore[call-overload]

    def wait_for(self, pattern: str) -> None:
        """Read until a line begins with the pattern."""
        if not any(re.match(pattern, line) for line in self._lines()):
            raise AssertionError(f"the run ended before it said {pattern!r}")

    def _lines(self) -> Iterator[str]:
        while line := self.process.stdout.readline():
            yield line.decode()

    def rest(self, timeout: float = 120) -> str:
        """What it still says until its end."""
        return self.process.communicate(timeout=timeout)[0].decode()


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
