"""Images per second of a single run, ours / tutorial, alternating in one process with the same threads.

python benchmarks/training.py [rounds]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

import torch
from omegaconf import OmegaConf
from tutorial import Tutorial

from rnn_sweep.config import DataConfig, parse
from rnn_sweep.data import load
from rnn_sweep.training import Entry, Population
from rnn_sweep.training.device import one_thread_per_operation

IMAGES = 12_800


def ours(folder: Path) -> Population:
    """The default run's population, with the tutorial's optimiser and no clipping."""
    groups = {
        "model": "rnn",
        "optimizer": "rmsprop",
        "scheduler": "none",
        "data": "mnist",
        "trainer": "default",
        "tracking": "off",
    }
    tree = {group: OmegaConf.load(f"conf/{group}/{name}.yaml") for group, name in groups.items()}
    tree["tracking"] = {"enabled": False}
    tree["trainer"]["clip_norm"] = None
    tree["data"]["limit"] = IMAGES
    config = parse(tree)
    population = Population(config, load(config.data), torch.device("cpu"))
    population.join(Entry(config, folder))
    return population


def main() -> None:
    """Print both figures and their ratio, for one thread and for all."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    load(DataConfig())
    for threads in sorted({1, torch.get_num_threads()}):
        torch.set_num_threads(threads)
        pairs = []
        with tempfile.TemporaryDirectory() as folder:
            tutorial, population = Tutorial(128, IMAGES), ours(Path(folder))
            (lane,) = population.lanes
            for _ in range(rounds + 1):
                base = tutorial.epoch()
                with one_thread_per_operation():  # as every run is trained
                    population.epoch()
                pairs.append((lane.history[-1]["images_per_second"], base))
        pairs = pairs[1:]  # the first round warms both up
        mine, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"threads {threads}: ours {mine:,.0f}, tutorial {theirs:,.0f} images/s, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
