"""What ``rnn_sweep.Run`` costs: an epoch, a run beyond MLflow's own, and the import; the middle of several of each.

An epoch trains nothing: it logs four metrics and keeps a network of 85 k parameters with its optimiser. Beside it the
same without a run: the metrics by MLflow's client, one batch an epoch, on a store of the same kind, with no checkpoint.
Limits: 5 ms an epoch, 0.5 s a run beyond MLflow's own, 0.15 s the import.

Usage: python benchmarks/bridge.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from omegaconf import OmegaConf

import rnn_sweep

EPOCHS, RUNS = 100, 7
SETTINGS = {"lr": 0.01, "model": {"hidden": 64}, **{f"key{n}": n for n in range(10)}}


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def row(epoch: int) -> dict[str, float]:
    return {"train/loss": 1 / epoch, "val/loss": 1.1 / epoch, "train/accuracy": 0.5, "val/accuracy": 0.4}


def with_run(epochs: int) -> None:
    cfg = OmegaConf.create({**SETTINGS, "objective": "val/accuracy", "tracking": {"experiment": "run"}})
    with rnn_sweep.start_run(cfg) as run:
        net = run.keep(torch.nn.Linear(290, 290))
        run.keep(torch.optim.Adam(net.parameters()))
        for epoch in run.epochs(epochs):
            run.log(row(epoch))


def by_client(client: MlflowClient, experiment: str, epochs: int) -> None:
    run = client.create_run(experiment).info.run_id
    client.log_batch(run, params=[Param(key, str(value)) for key, value in SETTINGS.items()])
    for epoch in range(1, epochs + 1):
        now = time.time_ns() // 1_000_000
        client.log_batch(run, metrics=[Metric(key, value, now, epoch) for key, value in row(epoch).items()])
    client.set_terminated(run)


def import_seconds(code: str) -> float:
    return statistics.median(
        seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True)) for _ in range(9)
    )


def middle(call: Callable[[int], object]) -> tuple[float, float]:
    """Seconds of a run of one epoch, and of each epoch more."""
    short = statistics.median(seconds(lambda: call(1)) for _ in range(RUNS))
    long = statistics.median(seconds(lambda: call(EPOCHS)) for _ in range(RUNS))
    return short, (long - short) / (EPOCHS - 1)


def main() -> None:
    bare = import_seconds("pass")
    print(f"import rnn_sweep: {import_seconds('import rnn_sweep') - bare:.3f} s beyond Python's {bare:.3f} s")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        with_run(1)  # imports, and makes the database
        client = MlflowClient("sqlite:///mlflow.db")
        experiment = client.create_experiment("client", artifact_location=Path(folder, "files").as_uri())
        by_client(client, experiment, 1)
        run, epoch = middle(with_run)
        own_run, own_epoch = middle(lambda epochs: by_client(client, experiment, epochs))
        os.chdir("/")
    print(f"a run of one epoch: {run:.3f} s, of which MLflow's own {own_run:.3f} s")
    print(f"an epoch: {1e3 * epoch:.1f} ms; by MLflow's client alone {1e3 * own_epoch:.1f} ms")


if __name__ == "__main__":
    main()
