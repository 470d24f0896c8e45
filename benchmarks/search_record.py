"""Recorded learning curves: every point of a lattice over a sweep's space, trained once by the native engine.

Numbers that are searched on an interval have a fixed number of values in it, evenly spaced on the parameter's own
scale. Nothing is interpolated: a point between two of the lattice is answered with the nearest one, so that each curve
is one of a real run, with its noise.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, open_dict

from rnn_sweep.hydra_version import BASE
from rnn_sweep.sweep.node import read_node
from rnn_sweep.sweep.settings import Settings, parse_settings
from rnn_sweep.sweep.space.conditions import active, ordered, parse_conditions
from rnn_sweep.sweep.space.grammar import Space, parse_space
from rnn_sweep.sweep.space.suggest import Suggester, first_point

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Bench:
    """A space that is recorded."""

    name: str
    overrides: Sequence[str]
    """Of each run, the same in all."""
    epochs: int
    values: int
    """Of each interval."""
    seeds: int
    """Runs of each point, with ``seed=1``, 2, …"""
    params: Mapping[str, str] = field(default_factory=dict)
    """The space; empty for that of the configuration."""
    conditions: Mapping[str, str] = field(default_factory=dict)
    start_seconds: float = 0.3
    """What a trial costs beside its epochs, in CPU seconds; measured by ``search.py --check``."""

    @property
    def file(self) -> Path:
        """Where its record is."""
        return HERE / f"search_{self.name}.npz"


BENCHES = {
    "digits": Bench("digits", ["experiment=smoke"], epochs=10, values=33, seeds=3),
    "mnist": Bench("mnist", ["data=mnist", "data.limit=10000"], epochs=10, values=9, seeds=1),
    "wide": Bench(
        "wide",
        ["experiment=smoke"],
        epochs=10,
        values=9,
        seeds=1,
        params={
            "model": "choice(rnn,gru,lstm)",
            "model.hidden_dim": "choice(32,64,128)",
            "model.layers": "range(1,3)",
            "model.nonlinearity": "choice(relu,tanh)",
            "optimizer": "choice(adam,sgd)",
            "optimizer.lr": "tag(log,interval(1e-3,1e-1))",
            "optimizer.momentum": "choice(0.0,0.9)",
            "scheduler": "choice(none,onecycle)",
        },
        conditions={"model.nonlinearity": "model=rnn", "optimizer.momentum": "optimizer=sgd"},
    ),
}


def composed(bench: Bench, overrides: Sequence[str] = ()) -> DictConfig:
    """The configuration of a sweep over the bench's space, Hydra's node included."""
    import hydra

    sweep = ["hydra/sweeper=optuna", *bench.overrides, f"trainer.epochs={bench.epochs}", *overrides]
    with hydra.initialize_config_dir(str(HERE.parent / "conf"), **BASE):
        cfg = hydra.compose("config", sweep, return_hydra_config=True)
    if bench.params:
        with open_dict(cfg.hydra):
            cfg.hydra.sweeper.params, cfg.hydra.sweeper.conditions = dict(bench.params), dict(bench.conditions)
    return cfg


def lattice(space: Space, count: int) -> list[Axis]:
    """The values of each parameter, ``count`` of an interval."""
    return [_axis(key, param.distribution, count) for key, param in space.params.items()]


def _axis(key: str, dist: Any, count: int) -> Axis:
    if hasattr(dist, "choices"):
        return Axis(key, list(dist.choices))
    if isinstance(dist.low, int):
        return Axis(key, list(range(dist.low, dist.high + 1, dist.step)))
    scale = np.geomspace if dist.log else np.linspace
    return Axis(key, [float(value) for value in scale(dist.low, dist.high, count)], dist.log)


@dataclass(frozen=True)
class Axis:
    """One parameter of a lattice."""

    key: str
    values: list[Any]
    log: bool = False

    @property
    def is_size(self) -> bool:
        """Whether it decides how much an epoch computes."""
        return self.key.partition(".")[0] == "model" or self.key == "data.batch_size"

    def nearest(self, value: Any) -> int:
        """The number of the value that is nearest on the parameter's own scale; the choice itself of a choice."""
        if value in self.values:
            return self.values.index(value)
        scale = math.log if self.log else float
        return min(range(len(self.values)), key=lambda i: abs(scale(self.values[i]) - scale(value)))


@dataclass
class Record:
    """The curves of a lattice. In each array the first axis is the seed and the next ones are the parameters."""

    axes: list[Axis]
    score: np.ndarray
    """Validation score after each epoch, the last axis; NaN where not recorded yet, 0 once the run has diverged."""
    test: np.ndarray
    """Test score of the weights of the best epoch."""
    seconds: np.ndarray
    """CPU seconds of each epoch, the last axis."""

    @classmethod
    def empty(cls, axes: list[Axis], seeds: int, epochs: int) -> Record:
        """With nothing in it."""
        shape = (seeds, *(len(axis.values) for axis in axes))
        score, seconds = (np.full((*shape, epochs), np.nan, np.float32) for _ in range(2))
        return cls(axes, score, np.full(shape, np.nan, np.float32), seconds)

    @classmethod
    def load(cls, file: Path) -> Record:
        """Read what :meth:`save` has written."""
        with np.load(file, allow_pickle=False) as content:
            axes = [Axis(**axis) for axis in json.loads(str(content["axes"]))]
            return cls(axes, content["score"], content["test"], content["seconds"])

    def save(self, file: Path) -> None:
        """Write it, compressed."""
        axes = np.array(json.dumps([asdict(axis) for axis in self.axes]))
        np.savez_compressed(file, axes=axes, score=self.score, test=self.test, seconds=self.seconds)

    @property
    def seeds(self) -> int:
        """Seeds of which every point is recorded."""
        return int(sum(not np.isnan(self.test[seed]).any() for seed in range(len(self.test))))

    def index(self, point: Mapping[str, Any]) -> tuple[int, ...]:
        """Where the recorded point is that is nearest to a point of the space; the first value of what it lacks."""
        return tuple(axis.nearest(point[axis.key]) if axis.key in point else 0 for axis in self.axes)

    def epoch_seconds(self) -> np.ndarray:
        """Seconds of an epoch at each point: the median over all that does not decide how much it computes.

        The times were taken beside other work; the median of many takes most of that out of them.
        """
        alike = [i for i, axis in enumerate(self.axes, start=1) if not axis.is_size]
        typical = np.nanmedian(self.seconds, axis=(0, *alike, self.seconds.ndim - 1), keepdims=True)
        return np.broadcast_to(typical, self.seconds.shape)[0, ..., 0]


def record(bench: Bench, seconds: float) -> None:
    """Go on with the record of a bench for a while; says how much is left."""
    axes = lattice(sweep_of(composed(bench)).space, bench.values)
    made = Record.load(bench.file) if bench.file.exists() else Record.empty(axes, bench.seeds, bench.epochs)
    assert made.axes == axes, f"{bench.file} is of another space: delete it to make it anew"
    end = time.monotonic() + seconds
    left = [index for index in np.ndindex(*made.test.shape) if np.isnan(made.test[index])]
    runner, sweep = Runner(bench), sweep_of(composed(bench))
    while left and time.monotonic() < end:
        index = left.pop(0)
        point = existing({axis.key: axis.values[i] for axis, i in zip(axes, index[1:], strict=True)}, sweep.suggester)
        first = (index[0], *made.index(point))  # the same point: parameters that it lacks come with every value
        if np.isnan(made.test[first]):
            made.score[first], made.test[first], made.seconds[first] = runner.run(point, seed=index[0] + 1)
        made.score[index], made.test[index], made.seconds[index] = (
            made.score[first],
            made.test[first],
            made.seconds[first],
        )
    made.save(bench.file)
    print(f"{made.test.size - len(left)} of {made.test.size} runs are recorded")


def existing(point: Mapping[str, Any], suggester: Suggester) -> dict[str, Any]:
    """A point without the parameters that do not exist beside its others."""
    chosen: dict[str, Any] = {}
    for param in ordered(suggester.space, suggester.conditions):
        if active(param, suggester.conditions, chosen, suggester.default):
            chosen[param.key] = point[param.key]
    return chosen


class Runner:
    """Trains points of a bench in this process, on one thread."""

    def __init__(self, bench: Bench) -> None:
        from rnn_sweep import data

        self.bench = bench
        self._configs: dict[tuple[str, ...], Any] = {}
        self.dataset = data.load(self._config({}).data)

    def _config(self, point: Mapping[str, Any]) -> Any:
        """The configuration of a point: composed once for each choice of groups, the rest of it put in."""
        from rnn_sweep.config import parse
        from rnn_sweep.run.settings import without_hydra

        groups = tuple(f"{key}={value}" for key, value in point.items() if "." not in key)
        if groups not in self._configs:
            cfg = composed(self.bench, ["trainer.threads=1", "trainer.device=cpu", "tracking=off", *groups])
            self._configs[groups] = parse(without_hydra(cfg))
        return changed(self._configs[groups], {key: value for key, value in point.items() if "." in key})

    def run(self, point: Mapping[str, Any], seed: int) -> tuple[np.ndarray, float, np.ndarray]:
        """The validation score and CPU seconds of each epoch, and the test score."""
        from rnn_sweep.training import Training, one_thread_per_operation

        curve, spent = np.zeros(self.bench.epochs), np.full(self.bench.epochs, np.nan)
        with one_thread_per_operation():
            training = Training(changed(self._config(point), {"seed": seed}), self.dataset, threads=lambda: 1)
            for epoch in range(self.bench.epochs):
                start = time.process_time()
                metrics = training.epoch(lambda steps: None)
                if metrics is None:  # the loss has become infinite
                    return curve, 0.0, spent
                curve[epoch], spent[epoch] = metrics["val/accuracy"], time.process_time() - start
            assert training.best is not None
            training.engine.load_weights(training.best.weights)
            return curve, training.engine.evaluate("test").score, spent


def changed(config: Any, changes: Mapping[str, Any]) -> Any:
    """A configuration with other values at dotted keys: composing it anew would take longer than the run."""
    for key, value in changes.items():
        head, _, rest = key.partition(".")
        if not hasattr(config, head):  # an argument of the optimiser's class
            config = replace(config, options={**config.options, head: value})
            continue
        config = replace(config, **{head: changed(getattr(config, head), {rest: value}) if rest else value})
    return config


@dataclass(frozen=True)
class Sweep:
    """What a configuration asks the sweeper for."""

    settings: Settings
    space: Space
    suggester: Suggester
    points: Sequence[Mapping[str, Any]] = ()
    """To try first."""


def sweep_of(cfg: DictConfig) -> Sweep:
    """Read the sweeper's node as the sweeper does."""
    settings = parse_settings(read_node(cfg))
    space = parse_space(settings.params, [], None)
    suggester = Suggester(space, parse_conditions(settings.conditions, space), cfg)
    points = [first_point(suggester)[0]] if settings.defaults_first else []
    return Sweep(settings, space, suggester, points)
