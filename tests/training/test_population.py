"""A lane among others is the run that it would be alone.

To the last bit where the same number of threads trains; with two, lanes are divided among them and a large lane alone
is divided itself, so that rounding differs: TOLERANCE, in double precision.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from rnn_sweep.config import Config
from rnn_sweep.data import Dataset
from rnn_sweep.errors import UserError
from rnn_sweep.outcome import Outcome, State
from rnn_sweep.training import Entry, Lane, Observer, Population, conclude, one_thread_per_operation, signature, train
from rnn_sweep.training.checkpoint import load
from tests.training.conftest import Make
from tests.training.test_train import CURVES, Recorder, curves

TOLERANCE = {"fp64": 1e-9, "fp32": 1e-4}
"""Relative, on losses and gradient norms over four epochs, which multiply rounding by up to a thousand."""

CELLS: list[dict[str, Any]] = [
    {"model__nonlinearity": "relu"},
    {"model__nonlinearity": "tanh", "model__layers": 2, "model__dropout": 0.3},
    {"model__cell": "gru", "model__nonlinearity": None, "model__init": "orthogonal"},
    {"model__cell": "lstm", "model__nonlinearity": None, "model__init": "default", "model__layers": 2},
]


def exact(config: Config) -> Config:
    """The run in double precision, in which no training blows rounding up to what could hide a mistake."""
    return dataclasses.replace(config, trainer=dataclasses.replace(config.trainer, precision="fp64"))


OPTIMIZERS: list[dict[str, Any]] = [
    {"_target_": "torch.optim.SGD", "lr": 0.05, "momentum": 0.9, "nesterov": True},
    {"_target_": "torch.optim.AdamW", "lr": 0.003, "weight_decay": 0.1},
    {"_target_": "torch.optim.RMSprop", "lr": 0.001},
    {"_target_": "torch.optim.Adafactor", "lr": 0.01},
    {"_target_": "torch.optim.NAdam", "lr": 0.002},
]
SCHEDULERS = ["none", "onecycle", "cosine", "plateau", "step"]


class Party:
    """A population whose runs join at given epochs."""

    def __init__(self, digits: Dataset, folder: Path) -> None:
        self.digits, self.folder = digits, folder

    def train(
        self, configs: Sequence[Config], joins: Sequence[int] = (), observers: dict[int, Observer] | None = None
    ) -> list[Outcome | Exception]:
        """Outcomes of all runs, in order; run k joins before epoch ``joins[k]`` (0: at the start)."""
        population = Population(configs[0], self.digits, torch.device("cpu"))
        lanes: dict[int, Lane] = {}
        epoch = 0
        while len(lanes) < len(configs) or population.lanes:
            for k, config in enumerate(configs):
                if k not in lanes and (not joins or joins[k] <= epoch):
                    folder = self.folder / str(k)
                    folder.mkdir(exist_ok=True)
                    lanes[k] = population.join(Entry(config, folder, (observers or {}).get(k, Observer())))
            if population.lanes:
                with one_thread_per_operation():
                    population.epoch()
            epoch += 1
        return [self._conclude(lanes[k], population) for k in range(len(configs))]

    def _conclude(self, lane: Lane, population: Population) -> Outcome | Exception:
        try:
            return conclude(lane, population)
        except Exception as error:
            return error


@pytest.fixture
def party(digits: Dataset, tmp_path: Path) -> Party:
    return Party(digits, tmp_path)


def assert_alike(together: Outcome | Exception, alone: Outcome, precision: str = "fp64") -> None:
    tolerance = TOLERANCE[precision]
    assert isinstance(together, Outcome)
    assert (together.state, together.epochs) == (alone.state, alone.epochs)
    for ours, theirs in zip(together.history, alone.history, strict=True):
        for name in CURVES:
            # In single precision an image may fall to the other of two classes that are as good as equally likely.
            image = 0.003 if "accuracy" in name and precision == "fp32" else 0.0
            assert ours[name] == pytest.approx(theirs[name], rel=tolerance, abs=image), name
    for name in ("val/loss", "best_epoch", "test/loss"):
        if name in alone.metrics:
            # The test is made in single precision.
            assert together.metrics[name] == pytest.approx(alone.metrics[name], rel=max(tolerance, 1e-6)), name


@pytest.mark.parametrize("cell", CELLS, ids=["relu", "tanh", "gru", "lstm"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_lane_among_others_is_the_run_alone(
    make: Make, digits: Dataset, party: Party, tmp_path: Path, cell: dict[str, Any], threads: int
) -> None:
    torch.set_num_threads(threads)
    configs = [
        exact(
            make(
                **cell,
                optimizer=optimizer,
                scheduler={"name": scheduler},
                trainer__clip_norm=clip,
                trainer__epochs=epochs,
                seed=seed,
            )
        )
        for seed, (optimizer, scheduler, clip, epochs) in enumerate(
            zip(OPTIMIZERS, SCHEDULERS, [None, 1.0, 0.1, 1.0, 5.0], [4, 2, 3, 4, 3], strict=True)
        )
    ]
    together = party.train(configs, joins=[0, 0, 1, 2, 5])  # the last when all others have left
    for config, outcome in zip(configs, together, strict=True):
        assert_alike(outcome, train(config, digits, tmp_path))


@pytest.mark.parametrize("cell", CELLS, ids=["relu", "tanh", "gru", "lstm"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("hidden", [24, 128])
def test_the_bits_of_a_lane_are_those_of_the_run_alone(
    make: Make, digits: Dataset, party: Party, tmp_path: Path, cell: dict[str, Any], precision: str, hidden: int
) -> None:
    """Whatever the size of the population, and with neighbours of fewer units in it."""
    torch.set_num_threads(1)
    settings = {"optimizer__lr": 0.001, "trainer__epochs": 2, "trainer__precision": precision}
    sizes = [hidden, hidden, hidden - 7, hidden, hidden - 3, hidden]
    configs = [make(**{**cell, **settings}, seed=seed, model__hidden_dim=size) for seed, size in enumerate(sizes)]
    together = party.train(configs, joins=[0, 0, 0, 0, 1, 1])
    for k in (0, 2, 5):
        alone = train(configs[k], digits, tmp_path)
        outcome = together[k]
        assert isinstance(outcome, Outcome)
        assert curves(outcome) == curves(alone)
        assert outcome.metrics["test/loss"] == alone.metrics["test/loss"]


def test_lanes_move_to_another_population_unnoticed(make: Make, digits: Dataset, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    configs = [
        make(seed=seed, trainer__epochs=4, optimizer=optimizer, model__hidden_dim=size)
        for seed, (optimizer, size) in enumerate(zip(OPTIMIZERS[:3], (32, 20, 30), strict=True))
    ]
    whole = Population(configs[0], digits, torch.device("cpu"))
    lanes = []
    for k, config in enumerate(configs):
        (tmp_path / str(k)).mkdir()
        lanes.append(whole.join(Entry(config, tmp_path / str(k))))
    whole.epoch()
    half = whole.empty_copy()
    whole.move([lanes[2], lanes[0]], half)
    whole.epoch()
    half.epoch()
    half.move([lanes[0]], whole)
    while not lanes[0].over:
        whole.epoch()
        half.epoch()
    for lane, config in zip(lanes, configs, strict=True):
        assert curves(conclude(lane, whole)) == curves(train(config, digits, tmp_path))


def test_who_the_others_are_does_not_matter_to_the_last_bit(make: Make, party: Party) -> None:
    quiet = [make(seed=seed) for seed in range(4)]
    loud = [
        make(seed=9, optimizer=OPTIMIZERS[0]),
        make(seed=8, trainer__clip_norm=None),
        make(seed=7),
        make(seed=0, trainer__epochs=3),
    ]
    first, other = party.train(quiet)[0], party.train(loud)[3]
    assert isinstance(first, Outcome)
    assert isinstance(other, Outcome)
    assert curves(first) == curves(other)
    assert first.metrics["test/loss"] == other.metrics["test/loss"]


def test_lanes_leave_early_each_in_its_own_way(make: Make, digits: Dataset, party: Party, tmp_path: Path) -> None:
    class Broken(Observer):
        def step(self) -> None:
            raise OSError("disk full")

    class BrokenLater(Observer):
        def epoch(self, epoch: int, metrics: dict[str, float]) -> bool:
            raise ValueError("no such study")

    worse = {"_target_": "torch.optim.SGD", "lr": 0.02}
    growing = {"name": "step", "step_size": 1, "gamma": 20.0}
    wild = {"_target_": "torch.optim.SGD", "lr": 1e100}
    none = {"name": "none"}
    configs = [
        make(seed=1, trainer__epochs=4),
        make(seed=2, optimizer=wild, scheduler=none, trainer__clip_norm=None),
        make(seed=3),
        make(seed=4),
        make(seed=5),
        make(seed=6, optimizer=worse, scheduler=growing, trainer__epochs=50, trainer__patience=2),
        make(seed=7),
    ]
    configs = [exact(config) for config in configs]
    observers = {2: Recorder(prune_at=2), 3: Broken(), 4: BrokenLater(), 6: Recorder(stop_at=2)}
    survivor, diverged, pruned, broken, later, impatient, stopped = party.train(configs, observers=observers)
    assert_alike(survivor, train(configs[0], digits, tmp_path))
    assert_alike(pruned, train(configs[2], digits, tmp_path, Recorder(prune_at=2)))
    assert isinstance(diverged, Outcome)
    assert isinstance(stopped, Outcome)
    assert isinstance(impatient, Outcome)
    assert (diverged.state, diverged.epochs) == (State.DIVERGED, 0)
    alone = train(configs[5], digits, tmp_path)
    assert (impatient.state, impatient.epochs) == (alone.state, alone.epochs)
    assert impatient.epochs < 10
    assert (stopped.state, stopped.epochs) == (State.INTERRUPTED, 2)
    assert isinstance(broken, OSError)
    assert isinstance(later, ValueError)


@pytest.mark.parametrize("fault", ["diverges", "raises"])
def test_a_lane_that_goes_wrong_changes_no_bit_of_the_others(make: Make, party: Party, fault: str) -> None:
    class Broken(Observer):
        def step(self) -> None:
            raise OSError("disk full")

    wild = {"_target_": "torch.optim.SGD", "lr": 1e18}
    bad = make(seed=2, optimizer=wild, scheduler={"name": "none"}, trainer__clip_norm=None)
    good = [make(seed=seed, trainer__epochs=1) for seed in (1, 2, 3)]
    with_bad = party.train([good[0], bad if fault == "diverges" else good[1], good[2]], observers={1: Broken()})
    without = party.train(good)
    for k in (0, 2):
        ours, theirs = with_bad[k], without[k]
        assert isinstance(ours, Outcome)
        assert isinstance(theirs, Outcome)
        assert curves(ours) == curves(theirs)


def test_a_lane_can_be_resumed_alone(make: Make, digits: Dataset, party: Party, tmp_path: Path) -> None:
    config = make(trainer__epochs=4, model__layers=2, model__dropout=0.3)
    other = dataclasses.replace(config, seed=5)
    party.train([other, config], observers={1: Recorder(stop_at=2)})
    folder = tmp_path / "1"
    rest = train(config, digits, folder, resume=load(folder))
    assert_alike(rest, train(config, digits, tmp_path), "fp32")


def test_a_run_that_is_refused_takes_no_lane(make: Make, digits: Dataset, party: Party, tmp_path: Path) -> None:
    population = Population(make(), digits, torch.device("cpu"))
    kept = population.join(Entry(make(), tmp_path))
    with pytest.raises(UserError, match="betas"):
        population.join(Entry(make(optimizer__betas=[2.0, 0.9]), tmp_path))
    with pytest.raises(FileNotFoundError):
        population.join(Entry(make(), tmp_path / "nowhere"))
    assert population.lanes == [kept]
    assert population.network.lanes == 1
    population.epoch()
    assert kept.epoch == 1


ALIKE: list[dict[str, Any]] = [
    {"model__hidden_dim": 30},
    {"seed": 7},
    {"optimizer": OPTIMIZERS[0]},
    {"scheduler": {"name": "cosine"}},
    {"trainer__epochs": 9},
    {"trainer__clip_norm": None},
    {"trainer__patience": 3},
    {"model__init": "orthogonal"},
    {"model__dropout": 0.5},  # without effect on one layer
]
DIFFERENT: list[dict[str, Any]] = [
    {"model__hidden_dim": 33},
    {"model__hidden_dim": 30, "optimizer": OPTIMIZERS[3]},
    {"model__layers": 2},
    {"model__nonlinearity": "tanh"},
    {"data__batch_size": 16},
    {"data__limit": 100},
    {"data__split_seed": 1},
    {"trainer__threads": 3},
    {"trainer__precision": "bf16"},
]


@pytest.mark.parametrize("changes", ALIKE, ids=str)
def test_what_is_each_lanes_own_is_not_in_the_signature(make: Make, changes: dict[str, Any]) -> None:
    assert signature(make(**changes)) == signature(make())


@pytest.mark.parametrize("changes", DIFFERENT, ids=str)
def test_what_a_batch_must_agree_in_is_in_the_signature(make: Make, changes: dict[str, Any]) -> None:
    assert signature(make(**changes)) != signature(make())


def test_dropout_counts_where_it_has_an_effect(make: Make) -> None:
    deep = {"model__layers": 2}
    assert signature(make(**deep, model__dropout=0.5)) != signature(make(**deep))
