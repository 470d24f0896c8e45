"""The judge: which sampler and pruner find the better model sooner, over many seeds, on recorded runs.

    python benchmarks/search.py digits --record              once: train the lattice, about five minutes of one core
    python benchmarks/search.py digits                       simulate all contenders, and print the table
    python benchmarks/search.py digits --figure docs/images/search_digits.png
    python benchmarks/search.py digits --check               three real sweeps beside the simulator

Every contender is a line of overrides of ``python run.py -m hydra/sweeper=optuna``. What has been simulated is kept in
``--results`` and not simulated again, so that the command may be broken off and goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from search_record import BENCHES, Bench, Record, Sweep, composed, record, sweep_of
from search_simulator import Clock, Point, Result, Simulation

from rnn_sweep.storage import quiet
from rnn_sweep.sweep.learner import Learner
from rnn_sweep.sweep.learning import lesson
from rnn_sweep.sweep.samplers import build_sampler

RUNS = 60
"""Complete runs that the budget pays for."""
SHARES = (0.25, 0.5, 1.0)
"""Of the budget, at which scores are compared."""


@dataclass(frozen=True)
class Contender:
    """A way to search."""

    name: str
    overrides: Sequence[str] = ()
    batches: bool = False
    learns: str | None = None
    """The bench on which a default sweep was made that this one learns from (``hydra.sweeper.learn_from``)."""
    ask_seconds: float = 0.002
    """What its sampler computes for a trial, in CPU seconds: the mean over 60 trials, ``search.py digits --ask``."""
    spread: int = 0
    """Points of a low-discrepancy sequence that are tried first."""


NO_PRUNER = "hydra/sweeper/pruner=none"
NO_DEFAULTS = "hydra.sweeper.defaults_first=false"
RANDOM = "hydra/sweeper/sampler=random"
MEDIAN = "hydra/sweeper/pruner=median"
UNIVARIATE = ["hydra.sweeper.sampler.multivariate=false", "hydra.sweeper.sampler.group=false"]


def start_up(trials: int) -> str:
    """The override for so many trials at random before a model is made."""
    return f"hydra.sweeper.sampler.n_startup_trials={trials}"


def gp(trials: int) -> Contender:
    """A Gaussian process after so many start-up trials."""
    name = f"gp, {trials} start-up trials"
    return Contender(name, ["hydra/sweeper/sampler=gp", start_up(trials)], ask_seconds=0.065)


TEN = start_up(10)
"""Of the rows that are named ``tpe`` and nothing of it: Optuna's own default."""
CONTENDERS = [
    Contender("default"),
    Contender("random search", [RANDOM, NO_PRUNER, NO_DEFAULTS]),
    Contender("official sweeper", ["hydra/sweeper/sampler=tpe_official", NO_PRUNER, NO_DEFAULTS], batches=True),
    Contender("ASHA (random)", [RANDOM, "hydra/sweeper/pruner=successive_halving", NO_DEFAULTS]),
    Contender("Hyperband (random)", [RANDOM, "hydra/sweeper/pruner=hyperband", NO_DEFAULTS]),
    Contender("tpe", [TEN]),
    Contender("tpe, median", [MEDIAN, TEN]),
    Contender("tpe, without trial 0", [NO_DEFAULTS, TEN]),
    *(Contender(f"tpe, {trials} start-up trials", [start_up(trials)]) for trials in (3, 20)),
    Contender("default, 96 candidates", ["hydra.sweeper.sampler.n_ei_candidates=96"]),
    Contender("default, univariate", UNIVARIATE),
    Contender("tpe, univariate", [TEN, *UNIVARIATE]),
    *(Contender(name, [NO_PRUNER, f"hydra/sweeper/sampler={name}"]) for name in ("tpe_official", "cmaes", "nsgaii")),
    Contender("qmc", [NO_PRUNER, "hydra/sweeper/sampler=qmc"]),
    *(gp(trials) for trials in (3, 5, 10)),
    *(Contender(f"default, learning from {name}", learns=name, ask_seconds=0.01) for name in ("digits", "mnist")),
    Contender("tpe, 10 qmc points first", [TEN], spread=10),
    Contender("default, 5 qmc points first", spread=5),
    *(
        Contender(f"tpe, {name}", [f"hydra/sweeper/pruner={name}", TEN])
        for name in ("percentile", "hyperband", "successive_halving", "patient")
    ),
    *(
        Contender(f"tpe, median, warm-up {steps}", [MEDIAN, TEN, f"hydra.sweeper.pruner.n_warmup_steps={steps}"])
        for steps in (3, 5, 7)
    ),
]


def simulate(bench: Bench, made: Record, contender: Contender, options: argparse.Namespace) -> list[Result]:
    """Sweeps of a contender, one for each seed of its sampler."""
    mean = float(made.epoch_seconds().mean()) * bench.epochs + bench.start_seconds
    results, cfg = [], composed(bench, contender.overrides)
    for seed in range(options.seeds):
        clock = Clock(
            workers=options.workers,
            start_seconds=bench.start_seconds,
            epochs=RUNS * bench.epochs,
            seconds=RUNS * mean / options.workers,
            ask_seconds=contender.ask_seconds,
            batches=contender.batches,
        )
        cfg.hydra.sweeper.sampler.seed = seed
        sweep = sweep_of(cfg)
        sampler = None
        if contender.learns:
            sweep, sampler = taught(sweep, contender.learns, seed)
        if contender.spread:
            sweep = replace(sweep, points=[*sweep.points, *spread(sweep, contender.spread, seed)])
        results.append(Simulation(sweep, made, clock, seed % made.seeds, sampler).run())
    return results


def taught(sweep: Sweep, teacher: str, seed: int) -> tuple[Sweep, BaseSampler]:
    """A sweep with the best points of a default one on another bench, and a sampler that learns from its trials."""
    bench = BENCHES[teacher]
    before, made = sweep_of(composed(bench, [f"hydra.sweeper.sampler.seed={seed + 1000}"])), Record.load(bench.file)
    clock = Clock(workers=1, start_seconds=0.0, epochs=RUNS * bench.epochs, seconds=0.0)
    simulation = Simulation(before, made, clock, (seed + 1) % made.seeds)  # not the runs that the sweep will see
    simulation.run()
    found = lesson(simulation.study, sweep.suggester, None, frozenset())
    sampler = Learner(build_sampler(sweep.settings.sampler, sweep.suggester, 1, 0, "judge"), found.history)
    return replace(sweep, points=[*sweep.points, *found.points]), sampler


def ask_cost(bench: Bench, overrides: Sequence[str]) -> float:
    """CPU seconds that the sampler takes for a trial, the mean over a sweep."""
    sweep, made = sweep_of(composed(bench, ["hydra.sweeper.sampler.seed=0", *overrides])), Record.load(bench.file)
    simulation = Simulation(sweep, made, Clock(workers=1, start_seconds=0.0, epochs=RUNS * bench.epochs, seconds=0), 0)
    before = time.process_time()
    simulation.run()
    return (time.process_time() - before) / simulation.result.trials


def spread(sweep: Sweep, count: int, seed: int) -> list[dict[str, Any]]:
    """The first points of a scrambled Sobol sequence over a sweep's space."""
    node = {"_target_": "optuna.samplers.QMCSampler", "scramble": True, "seed": seed}
    with quiet():
        sampler = build_sampler(node, sweep.suggester, 1, 0, "judge")
        study = optuna.create_study(sampler=sampler)
        for _ in range(count + 1):  # the first trial tells the sampler what the space is
            trial = study.ask()
            sweep.suggester.overrides(trial)
            study.tell(trial, 0.0)
    return [trial.params for trial in study.trials[1:]]


def kept(bench: Bench, made: Record, contender: Contender, options: argparse.Namespace) -> list[Result]:
    """The same, from the file of an earlier call where there is one."""
    name = f"{bench.name}-{options.workers}-{options.seeds}-{contender.name.replace(' ', '_')}.json"
    file = options.results / name
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps([asdict(result) for result in simulate(bench, made, contender, options)]))
    return [Result(**{**row, "points": [Point(**p) for p in row["points"]]}) for row in json.loads(file.read_text())]


def best_at(result: Result, axis: str, limit: float, score: str = "best") -> float:
    """The best score (or its test score) when ``limit`` seconds or epochs were used up; 0 before a trial's end."""
    until = [point for point in result.points if getattr(point, axis) <= limit]
    return getattr(until[-1], score) if until else 0.0


def reached(result: Result, target: float) -> float:
    """Seconds until a score was reached; infinite if it never was."""
    return next((point.seconds for point in result.points if point.best >= target), float("inf"))


def table(found: dict[str, list[Result]], seconds: float, epochs: int) -> str:
    """The results as Markdown; scores in percent."""
    target = statistics.median(best_at(result, "seconds", seconds) for result in found["random search"])
    head = ["", *(f"{share:.0%} of the time" for share in SHARES), "80 % band", "test", "same epochs"]
    head += ["time to random's best", "trials", "pruned", "in 2 epochs"]
    lines = [head, ["---"] * len(head)]
    for name, results in found.items():
        final = [100 * best_at(result, "seconds", seconds) for result in results]
        low, high = np.percentile(final, [10, 90])
        times = statistics.median_low(reached(result, target) for result in results) / seconds
        lines.append(
            [
                name,
                *(f"{_mean(results, 'seconds', share * seconds):.2f}" for share in SHARES),
                f"{low:.2f} to {high:.2f}",
                f"{_mean(results, 'seconds', seconds, 'test'):.2f}",
                f"{_mean(results, 'epochs', epochs):.2f}",
                f"{times:.2f}" if times < float("inf") else "never",
                *(f"{statistics.fmean(getattr(r, c) for r in results):.0f}" for c in ("trials", "pruned")),
                f"{statistics.fmean(result.pruned_early for result in results):.0f}",
            ]
        )
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{text}\n\nrandom's best: {100 * target:.2f}; all of the time: {seconds:.1f} s; all epochs: {epochs}"


def _mean(results: Sequence[Result], axis: str, limit: float, score: str = "best") -> float:
    return 100 * statistics.fmean(best_at(result, axis, limit, score) for result in results)


def figure(found: dict[str, list[Result]], seconds: float, epochs: int, file: Path) -> None:
    """Mean and 80 % band of the best score against the clock and against the epochs."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    drawn = ["default", "tpe, median", "tpe, median, warm-up 5", "random search", "official sweeper", "ASHA (random)"]
    fig, panels = pyplot.subplots(2, 2, figsize=(12, 8), sharey="row", constrained_layout=True)
    for column, (axis, limit) in enumerate((("seconds", seconds), ("epochs", float(epochs)))):
        grid = np.linspace(limit / 12, limit, 120)
        for row, score in enumerate(("best", "test")):
            panel = panels[row][column]
            for name in [name for name in drawn if name in found]:
                curves = np.array([[100 * best_at(r, axis, x, score) for x in grid] for r in found[name]])
                (line,) = panel.plot(grid, curves.mean(axis=0), label=name)
                panel.fill_between(grid, *np.percentile(curves, [10, 90], axis=0), alpha=0.12, color=line.get_color())
            panel.set_xlabel("simulated seconds" if axis == "seconds" else "epochs trained, all trials")
            panel.set_ylabel("best validation accuracy, %" if score == "best" else "its test accuracy, %")
            final = [
                100 * best_at(r, "seconds", seconds, score) for name in drawn if name in found for r in found[name]
            ]
            panel.set_ylim(min(final) - 2, max(final) + 0.3)
            panel.grid(alpha=0.3)
    panels[0][0].legend(loc="lower right")
    fig.savefig(file, dpi=90)


def judge(options: argparse.Namespace) -> None:
    """Simulate, and print the table."""
    bench, found = BENCHES[options.bench], {}
    made = Record.load(bench.file)
    seconds = RUNS * (float(made.epoch_seconds().mean()) * bench.epochs + bench.start_seconds) / options.workers
    for contender in CONTENDERS:
        if not options.only or contender.name in options.only:
            found[contender.name] = kept(bench, made, contender, options)
    print(table(found, seconds, RUNS * bench.epochs))
    if options.figure:
        figure(found, seconds, RUNS * bench.epochs, options.figure)


def main() -> None:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", choices=BENCHES)
    parser.add_argument("--record", action="store_true", help="go on with the record instead")
    parser.add_argument("--check", action="store_true", help="compare with real sweeps instead")
    parser.add_argument("--ask", action="store_true", help="measure what samplers compute instead")
    parser.add_argument("--for", type=float, default=1e9, dest="limit", help="seconds after which recording pauses")
    parser.add_argument("--seeds", type=int, default=10, help="sampler seeds of each contender")
    parser.add_argument("--workers", type=int, default=4, help="trials in flight, each on a core of its own")
    parser.add_argument("--only", action="append", help="a contender's name; may be given several times")
    parser.add_argument("--results", type=Path, default=Path("outputs/search"))
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if options.ask:
        for contender in (Contender("default"), gp(5)):
            print(f"{contender.name}: {ask_cost(BENCHES[options.bench], contender.overrides):.3f} CPU s for each trial")
    elif options.record:
        record(BENCHES[options.bench], options.limit)
    elif options.check:
        from search_check import check

        check(BENCHES[options.bench])
    else:
        judge(options)


if __name__ == "__main__":
    main()
