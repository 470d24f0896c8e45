"""The wheel, installed in an environment of its own and used from an empty folder: no clone is in reach."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import hydra
import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

SMALL = ("experiment=smoke", "trainer.epochs=2", "model.hidden_dim=16", "tracking=off")

Installed = Callable[..., str]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; what it depends on is that of this one."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    build = [*pip, "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run(build, check=True, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", symlinks=True)
    (site,) = folder.glob("venv/lib/python*/site-packages")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True)
    others = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), str(Path(hydra.__file__).parents[1])}
    (site / "others.pth").write_text("\n".join(others))  # as plain folders: an editable installation there is not seen
    return folder / "venv" / "bin" / "python"


@pytest.fixture
def installed(environment: Path, tmp_path: Path) -> Installed:
    """Run the environment's Python in an empty folder."""

    def call(*arguments: str, folder: Path = tmp_path) -> str:
        line = [str(environment), *arguments]
        done = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    return call


def test_train_and_sweep_and_resume(installed: Installed, tmp_path: Path) -> None:
    """A built wheel, compiled and installed, away from the clone: the commands of a user who has no clone."""
    assert "site-packages" in installed("-c", "import rnn_sweep; print(rnn_sweep.__file__)")
    assert "Configuration groups" in installed("-m", "rnn_sweep", "train", "--help")
    assert "result:  complete" in installed("-m", "rnn_sweep", "train", *SMALL)
    few = ("hydra.sweeper.n_trials=2", "hydra.sweeper.study_name=s", "hydra.sweeper.report=false")
    said = installed("-m", "rnn_sweep", "sweep", *SMALL, *few, "hydra/launcher=processes", "hydra.sweeper.n_jobs=1")
    assert "python -m rnn_sweep train experiment=smoke" in said
    assert "3/3 ended" in installed("-m", "rnn_sweep", "resume", "s", "hydra.sweeper.n_trials=3")
    assert "trial" in installed("-m", "rnn_sweep", "leaderboard", "s")


def test_from_python(installed: Installed) -> None:
    small = ", ".join(map(repr, SMALL))
    code = f"""
import rnn_sweep
assert rnn_sweep.compose({small}).trainer.epochs == 2
assert rnn_sweep.train({small}).epochs == 2
print(len(rnn_sweep.run_sweep({small}, "hydra.sweeper.n_trials=2", "hydra.sweeper.report=false")), "rows")
"""
    assert installed("-c", code).endswith("2 rows\n")


def test_configuration_of_the_package_is_found_by_others(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import hydra\n"
        "@hydra.main(version_base='1.3', config_path='pkg://rnn_sweep.conf', config_name='config')\n"
        "def main(cfg): print(cfg.data.name)\n"
        "main()\n"
    )
    assert installed("app.py", "data=digits") == "digits\n"


def test_a_new_project_runs_at_once(installed: Installed, tmp_path: Path) -> None:
    """``rnn-sweep init`` from an installed wheel: training, a sweep and the project's own test."""
    installed("-m", "rnn_sweep", "init", "mine")
    project = tmp_path / "mine"
    assert "result:  complete" in installed("train.py", "epochs=2", folder=project)
    said = installed(
        *("train.py", "-m", "hydra/sweeper=optuna", "lr=interval(0.001,0.02)", "epochs=2", "hydra.sweeper.n_trials=2"),
        *("tracking.enabled=false", "hydra.sweeper.report=false"),
        folder=project,
    )
    assert "2/2 ended" in said
    assert "1 passed" in installed("-m", "pytest", "-q", "-p", "no:cacheprovider", folder=project)
    line = [sys.executable, "-m", "rnn_sweep", "init", "mine"]
    refused = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert (refused.returncode, refused.stderr) == (2, "error: NAME must be a new or empty folder, got 'mine'\n")
