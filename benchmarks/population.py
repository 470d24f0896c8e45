"""Population-based training beside the default sweeper on the digits: equal epochs, and equal time.

    python benchmarks/population.py [--seeds 10] [--workers 2]

Sampler and population are the real ones, and so is the training, all in one process: one trial in flight, on one
thread. The clock is the CPU time of the epochs plus 0.3 s for each trial, which `search.py digits --check` measured on
real sweeps; a segment of a population is a trial. The space is the default one under experiment=smoke with 10 epochs,
trial 0 and member 0 are the application's defaults. The population has 20 members: 200 epochs in 100 segments. The
others go on until the population is done.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import optuna
from omegaconf import OmegaConf
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from hydra_plugins.rnn_sweep_optuna.config import SAMPLERS
from rnn_sweep import data
from rnn_sweep.api import compose
from rnn_sweep.config import Config, parse
from rnn_sweep.sweep.evolution import Evolution
from rnn_sweep.sweep.population import Population
from rnn_sweep.sweep.space.grammar import choice
from rnn_sweep.sweep.space.parameters import Param, Space
from rnn_sweep.training import Training, one_thread_per_operation

EPOCHS, MEMBERS, INTERVAL = 10, 20, 2
BUDGET = MEMBERS * EPOCHS
TRIAL_SECONDS = 0.3
PARAMS = {
    "model.hidden_dim": choice("model.hidden_dim", [32, 64, 128], "model.hidden_dim"),
    "model.layers": Param("model.layers", IntDistribution(1, 2)),
    "model.nonlinearity": choice("model.nonlinearity", ["relu", "tanh"], "model.nonlinearity"),
    "optimizer.lr": Param("optimizer.lr", FloatDistribution(1e-4, 1e-2, log=True)),
}
DEFAULTS = {"model.hidden_dim": 64, "model.layers": 1, "model.nonlinearity": "relu", "optimizer.lr": 0.01}
SEARCHES = ("default", "random search")
POPULATIONS: Mapping[str, tuple[str, float]] = {
    "pbt": ("onecycle", 0.25),
    "pbt that copies nothing": ("onecycle", 0.0),
    "pbt, scheduler=none": ("none", 0.25),
}


@dataclass(frozen=True)
class Point:
    """A sweep when one of its trials has ended: time, epochs, and validation and test accuracy of its best trial."""

    seconds: float
    epochs: int
    val: float
    test: float


class Bench:
    """Trains what is asked for, and keeps the points."""

    def __init__(self, scheduler: str, seed: int) -> None:
        line = ["experiment=smoke", f"scheduler={scheduler}", f"trainer.epochs={EPOCHS}", f"seed={seed}"]
        self._tree = compose(*line)
        self._dataset = data.load(parse(self._tree).data)
        self.points: list[Point] = []

    def config(self, params: Mapping[str, Any]) -> Config:
        tree = copy.deepcopy(self._tree)
        for key, value in params.items():
            OmegaConf.update(tree, key, value)
        return parse(tree)

    def train(self, params: Mapping[str, Any], epochs: int, state: Any = None) -> tuple[Training, float, float]:
        """Train on; returns the network, the best validation accuracy of its line, and the latest."""
        start = time.thread_time()
        training = Training(self.config(params), self._dataset, threads=lambda: 1)
        if state is not None:
            training.load_state_dict(copy.deepcopy(state))
        latest = 0.0
        for _ in range(epochs):
            metrics = training.epoch(lambda steps: None)
            latest = 0.0 if metrics is None else metrics["val/accuracy"]
        best = 0.0 if training.best is None else training.best.score
        self._note(training, best, epochs, time.thread_time() - start)
        return training, best, latest

    def _note(self, training: Training, best: float, epochs: int, seconds: float) -> None:
        last = self.points[-1] if self.points else Point(0.0, 0, 0.0, 0.0)
        val, test = last.val, last.test
        if best > val and training.best is not None:
            weights = training.engine.weights()
            training.engine.load_weights(training.best.weights)
            val, test = best, training.engine.evaluate("test").score
            training.engine.load_weights(weights)
        self.points.append(Point(last.seconds + seconds + TRIAL_SECONDS, last.epochs + epochs, val, test))


def population(row: str, seed: int) -> list[Point]:
    scheduler, quantile = POPULATIONS[row]
    bench = Bench(scheduler, seed)
    how = Evolution(
        MEMBERS, INTERVAL, EPOCHS, quantile, (0.8, 1.25), 0.25, ("optimizer.lr",), str(seed), None, [DEFAULTS]
    )
    members = Population(how, Space(PARAMS, []), maximize=True, seed=str(seed))
    trials: list[Any] = []
    states: list[Any] = []
    while (found := members.next(trials, [])) is not None:
        source = found.attribute["source"]
        training, best, latest = bench.train(found.params, INTERVAL, None if source is None else states[source])
        states.append(training.state_dict())
        trial = create_trial(
            state=TrialState.COMPLETE,
            value=best,
            params=dict(found.params),
            distributions={key: param.distribution for key, param in PARAMS.items()},
            intermediate_values={found.attribute["until"]: latest},
            user_attrs={"segment": found.attribute},
        )
        trial.number = len(trials)
        trials.append(trial)
    return bench.points


def search(row: str, seed: int, seconds: float) -> list[Point]:
    samplers = optuna.samplers
    known: Mapping[str, Any] = {
        "default": lambda: samplers.TPESampler(
            seed=seed, n_startup_trials=SAMPLERS["tpe"]["n_startup_trials"], multivariate=True, group=True
        ),
        "random search": lambda: samplers.RandomSampler(seed),
    }
    study = optuna.create_study(sampler=known[row](), direction="maximize")
    study.enqueue_trial(DEFAULTS)
    bench = Bench("onecycle", seed)
    while not bench.points or bench.points[-1].seconds < seconds:
        trial = study.ask({key: param.distribution for key, param in PARAMS.items()})
        study.tell(trial, bench.train(trial.params, EPOCHS)[1])
    return bench.points


def one(seed: int) -> dict[str, tuple[Point, Point, Point]]:
    """The rows of one seed: at equal epochs, at the time of the first population's end, and where 200 epochs ended."""
    import warnings

    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with one_thread_per_operation():
        done = {row: population(row, seed) for row in POPULATIONS}
        limit = done["pbt"][-1].seconds
        done = {**{row: search(row, seed, limit) for row in SEARCHES}, **done}
    return {
        row: (
            [p for p in found if p.epochs <= BUDGET][-1],
            [p for p in found if p.seconds <= limit][-1],
            next(p for p in found if p.epochs >= BUDGET),
        )
        for row, found in done.items()
    }


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation, in per cent."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{100 * statistics.fmean(values):.2f} ± {100 * deviation:.2f}"


def cells(row: str, seeds: Sequence[Mapping[str, tuple[Point, Point, Point]]]) -> Iterator[str]:
    equal, timed, whole = zip(*(seed[row] for seed in seeds), strict=True)
    yield row
    for found in (equal, timed):
        yield spread([p.val for p in found])
        yield spread([p.test for p in found])
    yield f"{statistics.fmean(p.seconds for p in whole):.1f}"
    yield f"{statistics.fmean(p.epochs for p in timed):.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    with ProcessPoolExecutor(given.workers) as pool:
        seeds = list(pool.map(one, range(1, given.seeds + 1)))
    head = [
        "",
        "same epochs: val",
        "test",
        "same time: val",
        "test",
        "seconds for 200 epochs",
        "epochs in the same time",
    ]
    for line in (head, ["---"] * len(head), *(list(cells(row, seeds)) for row in (*SEARCHES, *POPULATIONS))):
        print(f"| {' | '.join(line)} |")


if __name__ == "__main__":
    main()
