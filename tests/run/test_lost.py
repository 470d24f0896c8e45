"""A job whose trial its sweep has given up: another try may go on with its MLflow run by now."""

from __future__ import annotations

import logging
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from omegaconf import OmegaConf
from optuna.trial import TrialState

import rnn_sweep
from rnn_sweep.outcome import State
from rnn_sweep.storage import open_storage


@pytest.mark.parametrize("way", ["logs", "returns", "raises"])
def test_its_record_is_left_as_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture, way: str) -> None:
    caplog.set_level(logging.INFO)
    url = f"journal://{tmp_path}/s.journal"
    study = optuna.create_study(study_name="s", storage=open_storage(url))
    trial, store = study.ask(), f"sqlite:///{tmp_path}/mlflow.db"
    identity = {"study_name": "s", "storage": url, "number": trial.number}
    tracking = {"uri": store, "experiment": "e"}
    cfg = OmegaConf.create({"objective": "loss", "trial": identity, "tracking": tracking})

    def train() -> rnn_sweep.Outcome:
        with rnn_sweep.start_run(cfg, tmp_path / "run") as run:
            for epoch in run.epochs(4 if way == "logs" else 2):
                if epoch == 3:
                    study.tell(trial, state=TrialState.FAIL)
                run.log({"loss": 1 / epoch})
            if way != "logs":
                study.tell(trial, state=TrialState.FAIL)
            if way == "raises":
                raise RuntimeError
        return run.outcome

    if way == "raises":
        with pytest.raises(RuntimeError):
            train()
    else:
        outcome = train()
        assert (outcome.state, outcome.values) == (State.INTERRUPTED, ())
    assert "trial 0 was given up by its sweep while this job ran" in caplog.text
    client = MlflowClient(store)
    (record,) = recorded(client)
    assert record.info.status == "RUNNING"
    assert "state" not in record.data.tags
    assert [point.step for point in client.get_metric_history(record.info.run_id, "loss")] == [1, 2]
    assert not list((tmp_path / "run").glob("*.jsonl"))
    assert not (tmp_path / "run" / "result.json").exists(), "nor does the folder say that the run has ended"


def recorded(client: MlflowClient) -> list[Run]:
    found = client.get_experiment_by_name("e")
    assert found is not None
    return list(client.search_runs([found.experiment_id]))
