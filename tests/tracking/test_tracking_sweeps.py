"""What is added to runs after their end."""

from pathlib import Path

import numpy as np
from mlflow import MlflowClient

from rnn_sweep import tracking
from rnn_sweep.config import TrackingConfig
from rnn_sweep.models import ModelSpec, RecurrentNetwork
from rnn_sweep.outcome import State
from rnn_sweep.tracking import registry, sweep_runs


def start(config: TrackingConfig) -> tracking.Run:
    return tracking.start_run(config, tracking.Opening(params={}, overrides=[], output_dir=Path("out")))


def test_later_results_replace_earlier_ones(database: Path, tmp_path: Path) -> None:
    config = TrackingConfig(uri=f"sqlite:///{database}")
    run = start(config)
    run_id = str(run.run_id)
    picture = tmp_path / "history.png"
    picture.write_bytes(b"picture")
    for trials in (3.0, 5.0):
        sweep_runs.annotate(config, run_id, metrics={"trials": trials}, tags={"a": str(trials)}, files=[picture])
    run.finish(State.COMPLETE, {}, (), ())
    sweep_runs.annotate(config, run_id, metrics={"trials": 4.0}, tags={"a": "4.0"}, files=[tmp_path / "gone.html"])
    client = MlflowClient(f"sqlite:///{database}")
    found = client.get_run(run_id)
    assert found.data.metrics["trials"] == 4.0
    assert found.data.tags["a"] == "4.0"
    assert found.info.status == "FINISHED"
    assert [file.path for file in client.list_artifacts(run_id, "pictures")] == ["pictures/history.png"]


def test_a_run_is_registered_once(database: Path) -> None:
    config = TrackingConfig(uri=f"sqlite:///{database}")
    model = RecurrentNetwork(ModelSpec(cell="rnn", input_dim=8, hidden_dim=4))
    ids = []
    for _ in range(2):
        run = start(config)
        run.log_module(model, np.zeros((1, 8, 8), np.float32), 0)
        run.finish(State.COMPLETE, {}, (), ())
        ids.append(str(run.run_id))
    assert [registry.register(config, i, "it") for i in (ids[0], ids[0], ids[1])] == ["1", "1", "2"]
    client = MlflowClient(f"sqlite:///{database}")
    assert client.get_model_version_by_alias("it", "champion").run_id == ids[1]
    assert registry.register(config, str(start(config).run_id), "it") is None, "it has no model"
