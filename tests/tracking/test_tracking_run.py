"""Runs in a real sqlite store: what is recorded, how they end, and how they go on."""

import dataclasses
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from rnn_sweep import tracking
from rnn_sweep.config import TrackingConfig
from rnn_sweep.errors import UserError
from rnn_sweep.models.recurrent import ModelSpec, RecurrentNetwork
from rnn_sweep.outcome import State
from rnn_sweep.provenance import console_script
from rnn_sweep.tracking import sync
from rnn_sweep.tracking.records import Record
from rnn_sweep.tracking.writer import Delivery

EXAMPLE = np.zeros((1, 28, 28), np.float32)
PARAMS = {"model": {"hidden_dim": 8}, "tracking": {"uri": "http://ann:s3cret@h"}, "trainer": {"resume": None}}


@pytest.fixture
def config() -> TrackingConfig:
    return TrackingConfig(tags={"team": "a"})


@pytest.fixture
def client(database) -> MlflowClient:
    return MlflowClient(tracking_uri=f"sqlite:///{database}")


def start(config: TrackingConfig, **more):
    given = {
        "params": PARAMS,
        "overrides": ["seed=1", "tracking.uri=http://ann:s3cret@h"],
        "output_dir": Path("out"),
    }
    return tracking.start_run(config, tracking.Opening(**{**given, **more}))


def epochs(count: int) -> list[dict[str, float]]:
    return [
        {"train/loss": 1 / n, "val/loss": 1.1 / n, "train/accuracy": 1 - 0.1 / n, "val/accuracy": 1 - 0.2 / n}
        for n in range(1, count + 1)
    ]


def model() -> RecurrentNetwork:
    torch.manual_seed(0)
    return RecurrentNetwork(ModelSpec(cell="rnn", input_dim=28, hidden_dim=8, nonlinearity="relu"))


def artifacts(client: MlflowClient, run_id: str) -> set[str]:
    return {file.path for file in client.list_artifacts(run_id)}


def test_a_complete_run(config, client, tmp_path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"weights")
    run = start(config, tags={"kind": "plain"})
    history = epochs(3)
    for number, metrics in enumerate(history, 1):
        run.log_epoch(number, metrics)
    final = {"test/loss": 0.4, "test/accuracy": 0.9, "val/accuracy": 0.99}
    run.log_module(model(), EXAMPLE, 3)
    run.finish(State.COMPLETE, final, history, [weights])

    kept = client.get_run(run.run_id)
    assert kept.info.status == "FINISHED"
    assert kept.data.params["model.hidden_dim"] == "8"
    assert kept.data.metrics["test_accuracy"] == 0.9
    assert [(p.step, p.value) for p in client.get_metric_history(run.run_id, "val/accuracy")] == [
        (number, metrics["val/accuracy"]) for number, metrics in enumerate(history, 1)
    ]
    assert kept.data.tags.items() >= {"team": "a", "kind": "plain", "state": "complete"}.items()
    assert {"version.torch", "mlflow.source.name", "overrides", "output_dir"} <= kept.data.tags.keys()
    assert artifacts(client, run.run_id) >= {
        "config.yaml",
        "overrides.yaml",
        "curves.png",
        "weights.safetensors",
    }
    assert Path(client.download_artifacts(run.run_id, "curves.png")).read_bytes().startswith(b"\x89PNG")
    command, address = run.ui_hint.splitlines()
    assert command == f"{console_script()} ui {run.run_id[:8]}"
    assert address.startswith("http://127.0.0.1:5000/#/experiments/")


def test_credentials_are_recorded_nowhere(config, client, tmp_path, caplog) -> None:
    run = start(config)
    run.fail(RuntimeError("no http://ann:s3cret@h"), "Traceback …\nRuntimeError: no http://ann:s3cret@h\n")
    assert client.get_run(run.run_id).data.params["tracking.uri"] == "http://ann:***@h"
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"s3cret" not in path.read_bytes(), path
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    ("state", "status"),
    [(State.PRUNED, "FINISHED"), (State.DIVERGED, "FINISHED"), (State.INTERRUPTED, "KILLED")],
)
def test_other_ends(config, client, state, status) -> None:
    run = start(config)
    run.finish(state, {}, [], [])
    kept = client.get_run(run.run_id)
    assert (kept.info.status, kept.data.tags["state"]) == (status, state.value)
    assert "curves.png" not in artifacts(client, run.run_id)  # there is nothing to draw


def test_an_interrupted_run_gets_its_final_metrics_at_its_end(config, client) -> None:
    first = start(config)
    first.finish(State.INTERRUPTED, {"best_epoch": 1.0}, epochs(1), [])
    assert "best_epoch" not in client.get_run(first.run_id).data.metrics
    again = start(config, run_id=first.run_id)
    again.finish(State.COMPLETE, {"best_epoch": 2.0}, epochs(2), [])
    assert client.get_run(first.run_id).data.metrics["best_epoch"] == 2.0


def test_a_failed_run_keeps_its_traceback(config, client) -> None:
    run = start(config)
    run.fail(ValueError("bad luck"), "Traceback …\nValueError: bad luck\n")
    kept = client.get_run(run.run_id)
    assert (kept.info.status, kept.data.tags["error"]) == ("FAILED", "ValueError: bad luck")
    assert "bad luck" in Path(client.download_artifacts(run.run_id, "traceback.txt")).read_text()


def test_a_killed_run(config, client) -> None:
    run = start(config)
    run.kill()
    assert client.get_run(run.run_id).info.status == "KILLED"


def test_a_child_run(config, client) -> None:
    parent = start(config, run_name="sweep")
    child = start(config, parent_run_id=parent.run_id)
    found = client.search_runs(["1"], f"tags.mlflow.parentRunId = '{parent.run_id}'")
    assert [run.info.run_id for run in found] == [child.run_id]


def test_several_open_runs_do_not_mix(config, client) -> None:
    runs = [start(config) for _ in range(3)]
    for number in (1, 2):
        for value, run in enumerate(runs):
            run.log_epoch(number, {"val/loss": value})
    assert all(run.flush() for run in runs)
    for value, run in enumerate(runs):
        assert [(p.step, p.value) for p in client.get_metric_history(run.run_id, "val/loss")] == [
            (1, value),
            (2, value),
        ]


def test_a_resumed_run_has_every_point_once(config, client) -> None:
    history = epochs(4)
    first = start(config)
    for number in (1, 2, 3):
        first.log_epoch(number, history[number - 1])
    assert first.flush()
    # Killed here: epochs 2 and 3 were recorded, the checkpoint is of epoch 1.
    again = start(config, run_id=first.run_id, params={**PARAMS, "trainer": {"resume": "out"}, "seed": 1})
    for number in (2, 3, 4):
        again.log_epoch(number, history[number - 1])
    again.log_module(model(), EXAMPLE, 4)
    again.finish(State.COMPLETE, {"test/loss": 0.4}, history, [])
    # Killed after the results, before the end was recorded.
    last = start(config, run_id=first.run_id)
    last.log_epoch(4, history[3])
    last.log_module(model(), EXAMPLE, 4)
    last.finish(State.COMPLETE, {"test/loss": 0.4}, history, [])

    kept = client.get_run(first.run_id)
    assert again.run_id == last.run_id == first.run_id
    assert kept.info.status == "FINISHED"
    for key in history[0]:
        assert [p.step for p in client.get_metric_history(first.run_id, key)] == [1, 2, 3, 4]
    assert len(client.get_metric_history(first.run_id, "test_loss")) == 1
    assert len(kept.outputs.model_outputs) == 1
    assert (kept.data.params["trainer.resume"], kept.data.params["seed"]) == ("null", "1")


@pytest.mark.parametrize("deleted", [True, False])
def test_resuming_a_run_that_is_gone(config, client, deleted) -> None:
    run_id = start(config).run_id if deleted else "0" * 32
    if deleted:
        client.delete_run(run_id)
    with pytest.raises(UserError, match=f"trainer.resume: run {run_id}"):
        start(config, run_id=run_id)


def test_a_store_that_breaks_in_the_middle_does_not_end_the_run(config, client, tmp_path, caplog) -> None:
    run = start(config)
    run.log_epoch(1, {"val/loss": 1.0})
    assert run.flush()
    hidden = (tmp_path / "mlflow.db").rename(tmp_path / "away.db")
    (tmp_path / "mlflow.db").write_bytes(b"")
    run.log_epoch(2, {"val/loss": 0.5})
    assert not run.flush()
    assert "the tracking store does not answer" in caplog.text
    for number in range(3, 1500):  # more than one batch takes
        run.log_epoch(number, {"val/loss": 1 / number})
    hidden.replace(tmp_path / "mlflow.db")
    while not run.flush():
        time.sleep(0.05)
    kept = [(p.step, p.value) for p in client.get_metric_history(run.run_id, "val/loss")]
    assert sorted(kept) == [(number, 1 / number) for number in range(1, 1500)]


@pytest.mark.slow
def test_runs_that_meet_the_same_data_first_at_once(tmp_path) -> None:
    """MLflow refuses all but the first of them."""
    for number in range(4):
        config = TrackingConfig(uri=f"sqlite:///{tmp_path / str(number)}/mlflow.db")
        tracking.check(config)
        runs = [Delivery(config, None, tmp_path, resumed=False) for _ in range(8)]
        for run in runs:
            run.bring(Record("create", {"tags": {}, "run_name": None, "start": 1}))
        ready, data = threading.Barrier(8), {"name": "digits", "digest": "1", "source_type": "local", "source": "{}"}

        def record(run: Delivery, ready=ready, data=data) -> None:
            ready.wait()
            run.bring(Record("dataset", {"dataset": data}))

        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(record, run) for run in runs]:
                done.result()
        client = MlflowClient(config.uri)
        found = [client.get_run(run.run_id).inputs.dataset_inputs for run in runs]
        assert [[each.dataset.name for each in inputs] for inputs in found] == [["digits"]] * 8


UNHEARD = """
import os
from pathlib import Path
from mlflow import MlflowClient
from rnn_sweep import tracking
from rnn_sweep.config import TrackingConfig
from rnn_sweep.outcome import State
create, tries = MlflowClient.create_run, []
def gone(*args, **more):
    raise ConnectionError("the server has gone")
def unheard(self, *args, **more):
    made = create(self, *args, **more)
    tries.append(0)
    return made if len(tries) > 1 else gone()
MlflowClient.create_run = unheard
if {killed}:
    MlflowClient.search_runs = gone
opening = tracking.Opening(params={{}}, overrides=[], output_dir=Path("out").absolute(), patient=True)
run = tracking.start_run(TrackingConfig(), opening)
run.log_epoch(1, {{"val/loss": 1.0}})
run.finish(State.COMPLETE, {{}}, [], [])
os._exit(9 if {killed} else 0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
def test_a_run_whose_creation_nobody_heard_of_is_not_created_twice(client, tmp_path, killed) -> None:
    """A server that dies between its commit and its answer: the run is there, and its process does not know it."""
    (tmp_path / "out").mkdir()
    line = [sys.executable, "-c", UNHEARD.format(killed=killed)]
    assert subprocess.run(line, cwd=tmp_path, check=False).returncode == (9 if killed else 0)
    assert [each.note for each in sync.sync(tmp_path)] == ([""] if killed else [])
    (found,) = client.search_runs(["1"])
    assert (found.info.status, found.data.metrics["val/loss"]) == ("FINISHED", 1.0)


def test_a_full_disk_leaves_no_outbox_behind(config, client, tmp_path, caplog) -> None:
    waiting = tmp_path / "out" / "mlflow-outbox.jsonl"
    waiting.parent.mkdir()
    waiting.symlink_to("/dev/full")
    run = start(config, output_dir=tmp_path / "out")
    run.log_epoch(1, {"val/loss": 1.0})
    run.finish(State.COMPLETE, {}, [], [])
    assert caplog.text.count("cannot be written (No space left on device)") == 1
    assert client.get_run(run.run_id).data.metrics["val/loss"] == 1.0
    assert not waiting.is_symlink()


@pytest.mark.parametrize(("shared", "status"), [(False, "KILLED"), (True, "RUNNING")])
@pytest.mark.slow
def test_a_killed_process_ends_the_runs_that_are_its_own(client, tmp_path, shared, status) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").touch()
    killed = f"""
import os
from pathlib import Path
from rnn_sweep import tracking
from rnn_sweep.config import TrackingConfig
out = Path("out").absolute()
run = tracking.start_run(TrackingConfig(), tracking.Opening(params={{}}, overrides=[], output_dir=out, shared={shared}))
run.log_epoch(1, {{"val/loss": 1.0}})
run.add({{}}, {{}}, [out / "report.html"])
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", killed], cwd=tmp_path, check=False).returncode == 9
    (tmp_path / "out").rename(tmp_path / "moved")
    done = list(sync.sync(tmp_path))
    assert [each.note for each in done] == [""]
    kept = client.get_run(str(done[0].run_id))
    assert (kept.info.status, kept.data.metrics["val/loss"]) == (status, 1.0)
    assert "report.html" in artifacts(client, kept.info.run_id)
    assert [file.name for file in (tmp_path / "moved").iterdir()] == ["report.html"]


def test_a_second_process_in_a_folder_leaves_the_firsts_outbox_alone(config, client, tmp_path) -> None:
    (tmp_path / "out").mkdir()
    first = start(config, output_dir=tmp_path / "out")
    first.flush()
    before = (tmp_path / "out" / "mlflow-outbox.jsonl").read_text()
    second = start(config, output_dir=tmp_path / "out")
    second.finish(State.COMPLETE, {}, [], [])
    assert (tmp_path / "out" / "mlflow-outbox.jsonl").read_text() == before
    first.finish(State.COMPLETE, {}, [], [])
    assert not list((tmp_path / "out").iterdir())
    assert [client.get_run(run.run_id).info.status for run in (first, second)] == ["FINISHED"] * 2


def test_tracking_turned_off_records_nothing(tmp_path) -> None:
    run = start(TrackingConfig(enabled=False))
    run.log_epoch(1, {"val/loss": 1.0})
    run.finish(State.COMPLETE, {}, [], [])
    assert (run.run_id, run.ui_hint) == (None, None)
    assert list(tmp_path.iterdir()) == []


def test_files_and_ui_of_a_database_elsewhere(client, tmp_path, monkeypatch) -> None:
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    run = start(TrackingConfig(uri="sqlite:///../mlflow.db", experiment="a b"))
    assert run.flush()
    assert "config.yaml" in artifacts(client, run.run_id)
    assert list(other.iterdir()) == []
    assert "--tracking-uri sqlite:///" in run.ui_hint.splitlines()[0]


@pytest.mark.slow
def test_the_model_loads_in_a_fresh_process(config, client, tmp_path) -> None:
    run = start(config)
    network = model()
    run.log_module(network, EXAMPLE, 1)
    run.finish(State.COMPLETE, {"test/loss": 0.4}, epochs(1), [])
    images = np.random.default_rng(0).random((5, 28, 28), dtype=np.float32)
    np.save("images.npy", images)
    script = (
        "import sys, mlflow, numpy as np, torch\n"
        "mlflow.set_tracking_uri('sqlite:///mlflow.db')\n"
        "address, images = f'runs:/{sys.argv[1]}/model', np.load('images.npy')\n"
        "with torch.no_grad():\n"
        "    logits = mlflow.pytorch.load_model(address)(torch.from_numpy(images))\n"
        "np.save('logits.npy', logits.numpy())\n"
        "served = mlflow.pyfunc.load_model(address)\n"
        "np.save('served.npy', served.predict(images))\n"
        "print(served.metadata.signature.inputs, served.metadata.signature.outputs)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, run.run_id], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "float32', (-1, 28, 28)" in done.stdout
    assert "int64', (-1,)" in done.stdout
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(np.load("logits.npy"), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(np.load("served.npy"), expected.argmax(axis=1))
    linked = client.get_logged_model(client.get_run(run.run_id).outputs.model_outputs[0].model_id)
    assert {metric.key for metric in linked.metrics} == {"test_loss"}


def test_the_machines_metrics_are_recorded_until_the_run_ends(config, client, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    watched = dataclasses.replace(config, system_metrics=True)
    run = start(watched)

    def steps() -> list[int]:
        return [point.step for point in client.get_metric_history(run.run_id, "system/cpu_utilization_percentage")]

    while len(steps()) < 3:
        time.sleep(0.05)
    run.kill()
    count = len(steps())
    assert "SystemMetricsMonitor" not in [thread.name for thread in threading.enumerate()]
    assert {"system/system_memory_usage_percentage"} <= set(client.get_run(run.run_id).data.metrics)
    run = start(watched, run_id=run.run_id)
    while len(steps()) <= count:
        time.sleep(0.05)
    run.finish(State.COMPLETE, {}, [], [])
    assert steps() == sorted(set(steps())), "a run that goes on does not begin at step 0 again"
    assert not [key for key in client.get_run(start(config).run_id).data.metrics if key.startswith("system/")]


def test_system_metrics_need_a_package(config, database, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"tracking.system_metrics must be false where psutil is not installed"):
        tracking.check(dataclasses.replace(config, system_metrics=True))
