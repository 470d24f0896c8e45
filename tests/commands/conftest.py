"""One small sweep for all tests, and the command run in its folder."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from rnn_sweep import cli
from tests.conftest import command

STUDY = "small"
SMALL = ["experiment=smoke", "trainer.epochs=4", "model.hidden_dim=16", "hydra.sweeper.sampler.seed=1"]
SPACE = "hydra.sweeper.params={optimizer.lr:'tag(log,interval(1e-6,1e-1))',model.layers:'range(1,3)'}"


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit status."""

    out: str
    err: str
    status: int


Command = Callable[..., Answer]


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep with complete and pruned trials; to be read only."""
    folder = tmp_path_factory.mktemp("swept")
    few = ["hydra.sweeper.n_jobs=1", "hydra.sweeper.pruner.n_startup_trials=2"]
    line = ["-m", "hydra/sweeper=optuna", *SMALL, SPACE, *few, "hydra.sweeper.n_trials=8"]
    done = subprocess.run(
        command(*line, f"hydra.sweeper.study_name={STUDY}"), cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def rnn_sweep(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Call ``rnn-sweep …`` in ``folder``, in this process."""

    def call(folder: Path, *arguments: str) -> Answer:
        monkeypatch.chdir(folder)
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr("sys.argv", ["rnn-sweep", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return Answer(out, err, int(end.value.code or 0))

    return call


@pytest.fixture
def copied(swept: Path, tmp_path: Path) -> Path:
    """A copy of the sweep's study, to be changed."""
    shutil.copytree(swept / "studies", tmp_path / "studies")
    return tmp_path
