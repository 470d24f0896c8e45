"""A real MLflow server on loopback: in front of a store of ours, and as the store itself."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from rnn_sweep import tracking
from rnn_sweep.config import TrackingConfig
from rnn_sweep.models.recurrent import ModelSpec, RecurrentNetwork
from rnn_sweep.outcome import State

pytestmark = pytest.mark.slow

EXAMPLE = np.zeros((1, 28, 28), np.float32)


@contextmanager
def serving(folder: Path, *arguments: str, port: int | None = None) -> Iterator[str]:
    if port is None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", *arguments, "--port", str(port), "--workers", "1"]
    env = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(server, address, folder / "server.log")
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # the process group that this test started, workers included
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _wait(server: subprocess.Popen, address: str, log: Path) -> None:
    for _ in range(240):
        if _answers(address):
            return
        assert server.poll() is None, log.read_text()
        time.sleep(0.25)
    pytest.fail(log.read_text())


def _answers(address: str) -> bool:
    try:
        return get(f"{address}/health").strip() in (b"OK", b"")  # a store's server, a model's
    except OSError:
        return False


def get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310
        return answer.read()


def record(config: TrackingConfig):
    tracking.check(config)
    run = tracking.start_run(config, tracking.Opening(params={"seed": 1}, overrides=["seed=1"], output_dir=Path("out")))
    metrics = {"train/loss": 1.0, "val/loss": 1.1, "train/accuracy": 0.9, "val/accuracy": 0.8}
    run.log_epoch(1, metrics)
    network = RecurrentNetwork(ModelSpec(cell="rnn", input_dim=28, hidden_dim=8))
    run.log_module(network, EXAMPLE, 1)
    run.finish(State.COMPLETE, {"test/accuracy": 0.9}, [metrics], [])
    return run


def shown(address: str, run_id: str) -> None:
    """What the UI asks for is there: the run, its files, its picture, its model."""
    run = json.loads(get(f"{address}/api/2.0/mlflow/runs/get?run_id={run_id}"))["run"]
    assert run["info"]["status"] == "FINISHED"
    listed = json.loads(get(f"{address}/api/2.0/mlflow/artifacts/list?run_id={run_id}"))
    assert {"curves.png", "config.yaml"} <= {file["path"] for file in listed["files"]}
    assert get(f"{address}/get-artifact?path=curves.png&run_uuid={run_id}").startswith(b"\x89PNG")
    model_id = run["outputs"]["model_outputs"][0]["model_id"]
    model = json.loads(get(f"{address}/api/2.0/mlflow/logged-models/{model_id}"))["model"]
    assert model["info"]["status"] == "LOGGED_MODEL_READY"


def addresses(folder: Path) -> set[str]:
    """The addresses on which the processes that work in a folder listen."""
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.cwd()) == folder and process.pid != os.getpid():
                connections = process.net_connections("inet")
                found |= {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}
    return found


def test_a_bare_mlflow_ui_shows_the_run(tmp_path) -> None:
    run = record(TrackingConfig())
    assert "rnn-sweep ui " in run.ui_hint.splitlines()[0]
    with serving(tmp_path, "ui") as address:
        shown(address, run.run_id)
        listening = addresses(tmp_path)
        assert listening
        assert listening <= {"127.0.0.1", "::1"}


def test_a_server_as_the_store(tmp_path) -> None:
    (tmp_path / "server").mkdir()
    with serving(tmp_path / "server", "server") as address:
        run = record(TrackingConfig(uri=address))
        assert run.ui_hint.startswith(f"{address}/#/experiments/")
        shown(address, run.run_id)
    assert {path.name for path in tmp_path.iterdir()} == {"server"}
