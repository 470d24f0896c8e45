"""What a sweep leaves in MLflow beside its trials."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.conftest import MODEL, STUDY

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def client(swept: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{swept}/mlflow.db")


@pytest.fixture(scope="session")
def recorded(client: MlflowClient) -> list[Run]:
    return list(client.search_runs([e.experiment_id for e in client.search_experiments()]))


@pytest.fixture
def parent(recorded: list[Run]) -> Run:
    (found,) = [run for run in recorded if "mlflow.parentRunId" not in run.data.tags]
    return found


def test_the_parent_run_tells_the_sweep(parent: Run, recorded: list[Run], client: MlflowClient) -> None:
    states = [run.data.tags["state"] for run in recorded if run is not parent]
    metrics = parent.data.metrics
    assert metrics["trials/complete"] == states.count("complete")
    assert metrics["trials/pruned"] == states.count("pruned") > 0
    epochs = [len(client.get_metric_history(run.info.run_id, "val/loss")) for run in recorded if run is not parent]
    assert metrics["epochs/trained"] == sum(epochs)
    assert metrics["epochs/saved"] == 8 * 4 - sum(epochs)
    best = next(run for run in recorded if run.info.run_id == parent.data.tags["best_run_id"])
    assert best.data.tags["trial.number"] == str(int(metrics["best_trial"]))
    assert metrics["best_value"] == best.data.metrics["val/accuracy_best"]
    assert parent.data.params["space.optimizer.lr"] == "a float from 1e-06 to 0.1 (log)"
    assert "hydra.sweeper.study_name=small" in parent.data.tags["command"]
    note = parent.data.tags["mlflow.note.content"]
    for words in ("8 trials", "| trial | val/accuracy |", "rnn-sweep reproduce small"):
        assert words in note


def test_the_report_and_its_pictures_are_with_the_parent(parent: Run, client: MlflowClient, swept: Path) -> None:
    files = [file.path for file in client.list_artifacts(parent.info.run_id)]
    assert "report.html" in files
    pictures = [file.path for file in client.list_artifacts(parent.info.run_id, "pictures")]
    assert {"pictures/history.png", "pictures/intermediate.png", "pictures/slice.png"} <= set(pictures)
    (page,) = swept.glob("multirun/*/*/report.html")
    assert STUDY in page.read_text()


def test_trials_say_what_program_ran(parent: Run, recorded: list[Run]) -> None:
    for run in recorded:
        assert Path(run.data.tags["mlflow.source.name"]).name == "run.py"
        assert run.data.tags.get("mlflow.source.git.commit") == parent.data.tags.get("mlflow.source.git.commit")


def test_the_best_trials_model_is_registered(parent: Run, client: MlflowClient) -> None:
    version = client.get_model_version_by_alias(MODEL, "champion")
    assert version.run_id == parent.data.tags["best_run_id"]
    assert [v.version for v in client.search_model_versions(f"name = '{MODEL}'")] == [version.version]
