"""What a sweep costs beside its trials: ask, compose, launch, tell and journal.

Run ``python benchmarks/sweeper.py [trials]`` (1,000 by default). The time of a trial is the time from one
call of the task function to the next. CPU time is printed beside wall time, because it does not depend on who
else is working.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from rnn_sweep.hydra_version import BASE

CALLS: list[tuple[float, float]] = []
AVERAGED = 20

ConfigStore.instance().store(
    name="benchmark", node={"x": 1.0, "y": 1.0, "layers": 1, "nonlinearity": "relu", "trial": None}
)
SPACE = ["x=interval(-5,5)", "y=tag(log,interval(1e-3,1))", "layers=range(1,5)", "nonlinearity=relu,tanh"]


@hydra.main(config_path=None, config_name="benchmark", **BASE)
def sphere(cfg: DictConfig) -> float:
    """A job of no cost that notes when it was called."""
    CALLS.append((time.perf_counter(), time.process_time()))
    return float(cfg.x) ** 2 + float(cfg.y) ** 2 + float(cfg.layers)


def per_trial(calls: list[tuple[float, float]]) -> str:
    """Median wall and CPU milliseconds between neighbouring calls."""
    pairs = list(pairwise(calls))
    wall, cpu = (statistics.median(b[i] - a[i] for a, b in pairs) * 1e3 for i in (0, 1))
    return f"{wall:6.1f} ms wall, {cpu:6.1f} ms CPU"


def main(trials: int) -> None:
    """Run the sweep in a folder of its own and print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        sys.argv = [__file__, "-m", "hydra/sweeper=optuna", *SPACE, f"hydra.sweeper.n_trials={trials}"]
        sys.argv += ["hydra.sweep.dir=out", "hydra.sweeper.sampler.seed=1", "hydra.sweeper.report=false"]
        start = time.perf_counter()
        sphere()
        total = time.perf_counter() - start
        size = sum(file.stat().st_size for file in Path("studies").iterdir()) / 1e6
    print(f"per trial at the start:        {per_trial(CALLS[1 : AVERAGED + 2])}   (wanted: 30)")
    count = len(CALLS)
    print(f"per trial at trial {count:5d}:     {per_trial(CALLS[-AVERAGED - 1 :])}   (wanted at 1,000: 60)")
    print(f"whole sweep of {count} trials: {total:.1f} s   (wanted for 1,000: 60), journal {size:.1f} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
