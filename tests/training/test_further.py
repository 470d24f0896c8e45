"""Runs that are trained further: as new runs, from where the old ones ended."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests import warm
from tests.conftest import Run
from tests.test_run import runs

pytestmark = pytest.mark.slow

SMALL = ["experiment=smoke", "model.hidden_dim=16", "scheduler=cosine", "trainer.engine=native"]


def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def test_a_run_that_has_ended_is_trained_further(run: Run, tmp_path: Path) -> None:
    """Checkpoints of ended runs, their schedules and records, by the real command."""
    first = run(*SMALL, "trainer.epochs=2", "hydra.run.dir=first")
    assert first.returncode == 0, first.stderr
    before = result(tmp_path / "first")
    refused = run("trainer.resume=first")
    assert refused.returncode == 2
    assert "has ended; its result is in" in refused.stderr
    assert "with a larger trainer.epochs it is trained further" in refused.stderr
    for typed, message in (
        ("trainer.epochs=2", "trainer.epochs must be more than the 2 epochs that the run in 'first' has had, got 2"),
        ("seed=3", "goes on with the recorded configuration, but for trainer.epochs, trainer.restart_schedule"),
    ):
        refused = run("trainer.resume=first", typed)
        assert (refused.returncode, message in refused.stderr) == (2, True), refused.stderr

    more = run(f"trainer.resume={before['run_id'][:8]}", "trainer.epochs=4", "hydra.run.dir=more")
    assert more.returncode == 0, more.stderr
    after = result(tmp_path / "more")
    assert after["history"][:2] == before["history"]
    assert len(after["history"]) == 4
    assert "scheduler=cosine ends at epoch 2, and the learning rate stays as it is then" in more.stdout + more.stderr
    assert after["history"][2]["lr"] == after["history"][3]["lr"]
    assert result(tmp_path / "first") == before, "the old run is as it was"
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    recorded = client.get_run(after["run_id"])
    assert recorded.data.tags["continues"] == before["run_id"] != after["run_id"]
    assert [point.step for point in client.get_metric_history(after["run_id"], "val/loss")] == [1, 2, 3, 4]

    anew = run("trainer.resume=first", "trainer.epochs=4", "trainer.restart_schedule=true", "hydra.run.dir=anew")
    assert anew.returncode == 0, anew.stderr
    rates = [row["lr"] for row in result(tmp_path / "anew")["history"]]
    assert rates[2] > rates[1] > rates[3] or rates[2] > rates[3], rates


def test_a_function_of_ones_own_is_trained_further(tmp_path: Path) -> None:
    """It needs no setting for that: as new runs below their sweep, which nobody takes for runs of their own."""
    import subprocess
    import sys

    def call(*line: str, status: int = 0) -> str:
        done = subprocess.run([sys.executable, *line], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    app = str(Path(__file__).parents[1] / "apps" / "held.py")
    names = ["hydra.sweeper.study_name=s", "hydra.sweeper.n_trials=2", "hydra.sweeper.report=false"]
    call(app, "-m", "hydra/sweeper=optuna", "x=range(1,9)", *names)
    call("-m", "rnn_sweep", "extend", "s", "--top", "1", "epochs=5")
    (new,) = [json.loads(path.read_text()) for path in (tmp_path / "outputs").rglob("result.json")]
    assert [row["sum"] for row in new["history"]] == [1, 3, 6, 10, 15]
    assert "epochs=5" in new["overrides"]
    recorded = {each.info.run_id: each for each in runs(tmp_path)}
    tags = recorded[new["run_id"]].data.tags
    first = recorded[tags["continues"]].data.tags
    assert tags["mlflow.parentRunId"] == first["mlflow.parentRunId"]
    assert len((tmp_path / "epochs").read_text().splitlines()) == 6 + 2
    refused = call("-m", "rnn_sweep", "reproduce", new["run_id"], status=2)
    assert f"was trained further from run {tags['continues'][:8]}" in refused


def test_the_best_trials_of_a_study_are_trained_further(run: Run, tmp_path: Path) -> None:
    """A sweep, and the further runs of its best trials."""
    line = ["-m", "hydra/sweeper=optuna", *SMALL, "trainer.epochs=2", "optimizer.lr=interval(0.001,0.01)"]
    few = ["hydra.sweeper.study_name=s", "hydra.sweeper.n_trials=3", "hydra/sweeper/pruner=none"]
    swept = run(*line, *few, "hydra.sweeper.report=false")
    assert swept.returncode == 0, swept.stderr
    extend = [sys.executable, "-m", "rnn_sweep", "extend", "s"]
    refused = warm.run([*extend, "many"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (refused.returncode, "extend takes a number of trials, or --top K" in refused.stderr) == (2, True)
    done = warm.run([*extend, "--top", "2", "trainer.epochs=3"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    new = [json.loads(path.read_text()) for path in (tmp_path / "outputs").rglob("result.json")]
    assert [len(each["history"]) for each in new] == [3, 3]
