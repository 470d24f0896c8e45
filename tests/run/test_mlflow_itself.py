"""A function that starts MLflow by itself goes on doing so within a sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run.conftest import SCRIPT, Own

SWEEP = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.report=false", "hydra.sweeper.direction=minimize")


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "processes"])
def test_its_runs_are_children_of_the_sweeps(own: Own, tmp_path: Path, launcher: str) -> None:
    """A user's own use of MLflow in jobs, with each launcher."""
    from mlflow import MlflowClient

    script = SCRIPT.parents[1] / "mlflow_itself.py"
    few = ("hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1", f"hydra/launcher={launcher}")
    own(*SWEEP, "+x=choice(2,3)", *few, script=script)
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    found = client.get_experiment_by_name("mlflow_itself")
    runs = client.search_runs([found.experiment_id])
    (parent,) = [run for run in runs if "sweep" in run.data.tags]
    theirs = [run for run in runs if run.info.run_name.startswith("own ")]
    assert {run.data.metrics["square"] for run in theirs} <= {4, 9}
    assert {run.data.tags["mlflow.parentRunId"] for run in theirs} == {parent.info.run_id}
    inner = [run for run in runs if run.info.run_name == "inner"]
    assert {run.data.tags["mlflow.parentRunId"] for run in inner} == {run.info.run_id for run in theirs}
    assert len(runs) == 1 + 2 + 2 + 2  # the sweep's, those of the trials, and theirs


@pytest.mark.slow
def test_nothing_changes_outside_of_a_sweep(own: Own, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    own("+x=5", script=SCRIPT.parents[1] / "mlflow_itself.py")
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    (mine,) = [run for run in runs if run.info.run_name == "own 5"]
    assert "mlflow.parentRunId" not in mine.data.tags
