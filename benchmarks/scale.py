"""How a sweep grows: a model of its time, checked by a simulation, with this machine's figures put in.

Run ``python benchmarks/scale.py [seconds]`` (2: how long each figure is measured).

The model. N trials of L seconds on W workers, each of which reports every 1/f seconds; S sweepers that need a + b·n
seconds of their own for the trial that follows n others (b: the sampler, and counting trials); a storage that takes R
reports or Q trials a second. Whoever is busy longest decides::

    T = max(N·(L + L·f/R + 1/Q + a + b·N/2)/W,  N·(L·f/R + 1/Q),  (N·a + b·N²/2)/S)

The simulation plays the same with queues: a trial waits for a sweeper, its reports wait for the storage.
"""

from __future__ import annotations

import heapq
import itertools
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import optuna

sys.path.insert(0, str(Path(__file__).resolve().parent))
from storages import Capacity, measure_all

HOUR = 3600.0
HYDRA_SECONDS = 0.013
"""Composing and starting one job, by ``benchmarks/utilisation.py``."""


@dataclass(frozen=True)
class Sweep:
    """What the model is about; seconds, and per second."""

    trials: int
    workers: int
    length: float
    reports: float
    sweepers: int
    own: float
    sampler: float
    storage: Capacity

    def seconds(self) -> float:
        """By the model."""
        n, s = self.trials, self.storage
        stored = self.length * self.reports / s.reports + 1 / s.trials
        asked = self.own + self.sampler * n / 2
        work = n * (self.length + stored + asked) / min(self.workers, n)
        return max(work, n * stored, n * asked / self.sweepers)

    def simulated(self) -> float:
        """By playing it: events in the order of time."""
        storage_free, done, started = 0.0, 0.0, 0
        sweeper_free = [0.0] * self.sweepers
        steps = max(1, round(self.length * self.reports))
        order = itertools.count()
        # (when, tie-breaker, reports left); a worker without a trial has -1
        events = [(0.0, next(order), -1) for _ in range(min(self.workers, self.trials))]
        while events:
            now, _, left = heapq.heappop(events)
            if left > 0:
                storage_free = max(now, storage_free) + 1 / self.storage.reports
                heapq.heappush(events, (storage_free + self.length / steps, next(order), left - 1))
                continue
            done = max(done, now)
            if started == self.trials:
                continue
            asked = max(now, heapq.heappop(sweeper_free)) + self.own + self.sampler * started
            heapq.heappush(sweeper_free, asked)
            storage_free = max(asked, storage_free) + 1 / self.storage.trials
            started += 1
            heapq.heappush(events, (storage_free, next(order), steps))
        return done


def sampler_cost(name: str, counts: tuple[int, int] = (200, 2_000)) -> tuple[float, float]:
    """Seconds of ask, three suggestions and tell in memory: the constant part, and the part for each earlier trial."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    times = []
    for count in counts:
        study = optuna.create_study(sampler=getattr(optuna.samplers, name)(seed=1))
        for number in range(count):
            trial = optuna.trial.create_trial(
                params={k: ((number * 37 + i) % 101) / 101 for i, k in enumerate("xyz")},
                distributions={k: optuna.distributions.FloatDistribution(0, 1) for k in "xyz"},
                value=float(number % 17),
            )
            study.add_trial(trial)
        each = []
        for _ in range(25):
            began = time.process_time()
            trial = study.ask()
            study.tell(trial, sum(trial.suggest_float(k, 0, 1) for k in "xyz"))
            each.append(time.process_time() - began)
        times.append(statistics.median(each))
    slope = max(0.0, (times[1] - times[0]) / (counts[1] - counts[0]))
    return max(times[0] - slope * counts[0], 0.0), slope


def loop_cost(count: int = 2_000) -> float:
    """Seconds for each earlier trial that the sweeper itself needs to start and end one: counting, finding the best."""
    from rich.console import Console

    from rnn_sweep.sweep.progress import Progress

    study = optuna.create_study()
    for number in range(count):
        study.add_trial(optuna.trial.create_trial(value=float(number % 17)))
    progress = Progress(study, count, 1, Console(quiet=True))
    each = []
    for _ in range(25):
        began = time.process_time()
        for _ in range(2):
            study.get_trials(deepcopy=False)
        progress._recount()
        each.append(time.process_time() - began)
    return statistics.median(each) / count


def check(base: Sweep) -> Iterator[str]:
    """Model and simulation side by side where one is feasible: up to 10,000 workers, 20,000 trials."""
    yield "| trials | workers | sweepers | reports/s of each | model | simulation | ratio |"
    yield _rule(7)
    for trials, workers, sweepers, reports in (
        (2_000, 10, 1, 0.1), (2_000, 100, 1, 1.0), (2_000, 100, 10, 10.0), (20_000, 1_000, 1, 0.1),
        (20_000, 1_000, 100, 1.0), (20_000, 10_000, 100, 0.1),
    ):  # fmt: skip
        sweep = replace(base, trials=trials, workers=workers, sweepers=sweepers, reports=reports)
        model, played = sweep.seconds(), sweep.simulated()
        yield (
            f"| {trials:,} | {workers:,} | {sweepers} | {reports} | {model:,.0f} s | {played:,.0f} s "
            f"| {played / model:.2f} |"
        )


def limits(storages: dict[str, Capacity], length: float) -> Iterator[str]:
    """Workers that each storage keeps up with."""
    rates = (0.01, 0.1, 1.0, 10.0)
    yield "| storage | " + " | ".join(f"{rate:g} reports/s" for rate in rates) + " |"
    yield _rule(1 + len(rates))
    for kind, s in storages.items():
        cells = [f"{1 / (rate / s.reports + 1 / (length * s.trials)):,.0f}" for rate in rates]
        yield f"| {kind} | " + " | ".join(cells) + " |"


def hours(base: Sweep, sampler: str) -> Iterator[str]:
    """Time of whole sweeps, and what decides it."""
    workers = (1, 10, 100, 1_000, 10_000)
    yield f"| trials ({sampler}) | " + " | ".join(f"{count:,} workers" for count in workers) + " |"
    yield _rule(1 + len(workers))
    for trials in (100, 1_000, 10_000, 100_000, 1_000_000):
        cells = []
        for count in workers:
            sweep = replace(base, trials=trials, workers=count, sweepers=max(1, count // 16))
            total, work = sweep.seconds(), trials * sweep.length / min(count, trials)
            cells.append(f"{total / HOUR:,.2f} h" + (f" ({total / work:.1f}-fold)" if total > 1.05 * work else ""))
        yield f"| {trials:,} | " + " | ".join(cells) + " |"


def _rule(columns: int) -> str:
    return "|---" * columns + "|"


def main(seconds: float) -> None:
    """Measure, and print the tables of docs/scale.md."""
    storages = measure_all(seconds)
    print("| storage | reports/s | trials/s |\n|---|---|---|")
    for kind, capacity in storages.items():
        print(f"| {kind} | {capacity.reports:,.0f} | {capacity.trials:,.0f} |")
    costs = {name: sampler_cost(f"{name}Sampler") for name in ("Random", "TPE")}
    for name, (own, slope) in costs.items():
        print(f"\n{name}: {own * 1e3:.1f} ms a trial and {slope * 1e6:.1f} µs for each earlier trial")
    counting = loop_cost()
    print(
        f"\nThe sweeper itself: {counting * 1e6:.1f} µs for each earlier trial, and Hydra {HYDRA_SECONDS * 1e3:.0f} ms"
    )
    base = Sweep(1, 1, 60.0, 0.1, 1, costs["Random"][0] + HYDRA_SECONDS, counting, storages["postgresql"])
    print("\nModel and simulation, trials of 60 s on PostgreSQL:\n")
    print(*check(base), sep="\n")
    print("\nWorkers that a storage keeps up with, by how often each reports; trials of 60 s:\n")
    print(*limits(storages, 60.0), sep="\n")
    for name, (own, slope) in costs.items():
        print("\nTrials of 60 s with 6 reports, a sweeper for each 16 workers, PostgreSQL:\n")
        print(*hours(replace(base, own=own + HYDRA_SECONDS, sampler=slope + counting), name), sep="\n")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0)
