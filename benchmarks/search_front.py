"""Two objectives: which sampler finds the better Pareto front of score and seconds, on recorded runs.

    python benchmarks/search_front.py digits

Prints the mean over sampler seeds of the hypervolume of the front after a quarter, half and all of 60 trials, four
of them in flight, as a part of that of all recorded runs.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from collections.abc import Sequence

import numpy as np
import optuna
from search import RUNS, SHARES
from search_record import BENCHES, Bench, Record, composed, sweep_of

from rnn_sweep.storage import quiet
from rnn_sweep.sweep.samplers import build_sampler

SAMPLERS = ("random", "tpe", "nsgaii", "nsgaiii", "qmc")
IN_FLIGHT = 4
LEAST = 0.8
"""Score of the hypervolume's reference point; its seconds are those of the slowest run."""


def hypervolume(points: Sequence[tuple[float, float]], slowest: float) -> float:
    """Area that points of score and seconds dominate, above :data:`LEAST` and below ``slowest`` seconds."""
    area, top = 0.0, LEAST
    for score, seconds in sorted(points, key=lambda point: (point[1], -point[0])):
        if score > top:
            area += (score - top) * (slowest - seconds)
            top = score
    return area


def search(bench: Bench, made: Record, sampler: str, seed: int) -> list[tuple[float, float]]:
    """Score and seconds of each trial of a sweep, in order."""
    sweep = sweep_of(composed(bench, [f"hydra/sweeper/sampler={sampler}", f"hydra.sweeper.sampler.seed={seed}"]))
    speed, found, flying = made.epoch_seconds(), [], []
    with quiet():
        study = optuna.create_study(
            directions=["maximize", "minimize"],
            sampler=build_sampler(sweep.settings.sampler, sweep.suggester, 2, 0, ""),
        )
        for point in sweep.points:
            study.enqueue_trial(dict(point))
        while len(found) < RUNS:
            while len(flying) < IN_FLIGHT:
                flying.append(study.ask())
                sweep.suggester.overrides(flying[-1])
            trial = flying.pop(0)
            index = made.index(trial.params)
            found.append((float(made.score[(seed % made.seeds, *index)].max()), bench.epochs * float(speed[index])))
            study.tell(trial, found[-1])
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", choices=BENCHES)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    bench = BENCHES[options.bench]
    made = Record.load(bench.file)
    seconds = np.broadcast_to(bench.epochs * made.epoch_seconds(), made.test.shape)
    slowest = float(seconds.max())
    whole = [hypervolume(list(zip(made.score[s].max(-1).flat, seconds[s].flat, strict=True)), slowest)
             for s in range(made.seeds)]  # fmt: skip
    print(f"| | {' | '.join(f'{share:.0%} of the trials' for share in SHARES)} |\n|---|{'---|' * len(SHARES)}")
    for sampler in SAMPLERS:
        runs = [search(bench, made, sampler, seed) for seed in range(options.seeds)]
        parts = [
            statistics.fmean(
                hypervolume(run[: int(share * RUNS)], slowest) / whole[seed % made.seeds]
                for seed, run in enumerate(runs)
            )
            for share in SHARES
        ]
        print(f"| {sampler} | {' | '.join(f'{part:.3f}' for part in parts)} |")


if __name__ == "__main__":
    main()
