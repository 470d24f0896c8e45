"""What recording one run in MLflow costs, part by part: the first run of a process, and later ones.

Milliseconds on a new sqlite store in a temporary folder, beside the limits of 0.5 s a run and 10 ms an epoch.
The import of MLflow and the creation of the database are shown and not counted.

Usage: python benchmarks/tracking.py
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rnn_sweep import tracking
from rnn_sweep.config import TrackingConfig
from rnn_sweep.models.recurrent import ModelSpec, RecurrentNetwork
from rnn_sweep.outcome import State
from rnn_sweep.tracking import model as model_part
from rnn_sweep.tracking import writer as writer_part

EPOCHS = 30
PARAMS = {"model": {"hidden_dim": 128, "layers": 1}, "more": {f"key{n}": n for n in range(40)}}


def clock(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


def timed(module: object, name: str, spent: dict[str, float]) -> None:
    """Replace ``module.name`` by itself with a clock."""
    original = getattr(module, name)

    def call(*arguments: object, **options: object) -> object:
        start = time.perf_counter()
        try:
            return original(*arguments, **options)
        finally:
            spent[name] = 1e3 * (time.perf_counter() - start)

    setattr(module, name, call)


def one_run(config: TrackingConfig, spent: dict[str, float]) -> tuple[float, list[float], float]:
    """Record a run; returns the milliseconds of its start, of each epoch and of its end."""
    network = RecurrentNetwork(ModelSpec(cell="rnn", input_dim=28, hidden_dim=128, nonlinearity="relu"))
    weights = Path("weights.safetensors")
    weights.write_bytes(bytes(85_000))
    opened: list[tracking.Run] = []
    opening = tracking.Opening(params=PARAMS, overrides=["seed=1"], output_dir=Path("out"))
    start = clock(lambda: opened.append(tracking.start_run(config, opening)))
    run = opened[0]
    history = [
        {"train/loss": 1 / n, "val/loss": 1.1 / n, "train/accuracy": 1 - 0.5 / n, "val/accuracy": 1 - 0.6 / n}
        | {"lr": 1e-3, "grad_norm": 1.0, "images_per_second": 1e4}
        for n in range(1, EPOCHS + 1)
    ]
    epochs = [clock(lambda n=n, row=row: run.log_epoch(n, row)) for n, row in enumerate(history, 1)]
    final = {"test/loss": 0.1, "test/accuracy": 0.98}
    example = np.zeros((1, 28, 28), np.float32)

    def conclude() -> None:
        run.log_module(network, example, EPOCHS)
        run.finish(State.COMPLETE, final, history, [weights])

    end = clock(conclude)
    print(f"  start {start:.0f} ms, epoch {np.median(epochs):.1f} ms (max {max(epochs):.1f}), end {end:.0f} ms")
    print(f"  of the end: model {spent['log_model']:.0f} ms, picture {spent['save_curves']:.0f} ms")
    return start, epochs, end


def main() -> None:
    """Measure and print."""
    spent: dict[str, float] = {}
    timed(model_part, "log_model", spent)
    timed(writer_part, "save_curves", spent)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        config = TrackingConfig()
        print(f"import of mlflow {clock(lambda: __import__('mlflow')):.0f} ms")
        print(f"creation of the database {clock(lambda: tracking.check(config)):.0f} ms")
        for name in ("first run of a process", "second run", "third run"):
            print(name)
            start, epochs, end = one_run(config, spent)
            print(f"  of the limits: run {(start + end) / 500:.2f}, epoch {np.median(epochs) / 10:.2f}")
        os.chdir("/")


if __name__ == "__main__":
    main()
