"""A run is the same whoever is trained beside it, and ends in its own way."""

from __future__ import annotations

import dataclasses
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from rnn_sweep import checkpoint
from rnn_sweep.checkpoint import load
from rnn_sweep.config import Config
from rnn_sweep.data import Dataset
from rnn_sweep.engines import choose
from rnn_sweep.errors import UserError
from rnn_sweep.outcome import Outcome, State
from rnn_sweep.training import use_one_thread
from tests.training.conftest import Make, Observer, train
from tests.training.test_train import Recorder, curves

CELLS: list[dict[str, Any]] = [
    {"model__nonlinearity": "relu"},
    {"model__nonlinearity": "tanh", "model__layers": 2, "model__dropout": 0.3},
    {"model__cell": "gru", "model__nonlinearity": None, "model__init": "orthogonal"},
    {"model__cell": "lstm", "model__nonlinearity": None, "model__init": "default", "model__layers": 2},
]
OPTIMIZERS: list[dict[str, Any]] = [
    {"_target_": "torch.optim.SGD", "lr": 0.05, "momentum": 0.9, "nesterov": True},
    {"_target_": "torch.optim.AdamW", "lr": 0.003, "weight_decay": 0.1},
    {"_target_": "torch.optim.RMSprop", "lr": 0.001},
    {"_target_": "torch.optim.Adafactor", "lr": 0.01},
]
SCHEDULERS = ["none", "onecycle", "cosine", "plateau"]


def side_by_side(digits: Dataset, folder: Path, configs: Sequence[Config]) -> list[Outcome]:
    """Outcomes of all runs, each in a thread of its own, and all of them in the same epoch at the same time."""
    outcomes: dict[int, Outcome] = {}
    barrier = threading.Barrier(len(configs))

    class Together(Observer):
        def epoch(self, epoch: int) -> bool:
            barrier.wait(60)
            return True

    def work(k: int) -> None:
        use_one_thread()
        outcomes[k] = train(configs[k], digits, folder / str(k), Together())

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(configs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [outcomes[k] for k in range(len(configs))]


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS, ids=["relu", "tanh", "gru", "lstm"])
def test_a_run_among_others_is_the_run_alone(
    make: Make, digits: Dataset, tmp_path: Path, cell: dict[str, Any], engine: str
) -> None:
    configs = [
        make(**cell, optimizer=optimizer, scheduler={"name": scheduler}, trainer__epochs=2, seed=seed)
        for seed, (optimizer, scheduler) in enumerate(zip(OPTIMIZERS, SCHEDULERS, strict=True))
    ]
    if engine == "torch":
        configs = [dataclasses.replace(c, trainer=dataclasses.replace(c.trainer, engine=engine)) for c in configs]
    for config, together in zip(configs, side_by_side(digits, tmp_path, configs), strict=True):
        alone = train(config, digits, tmp_path)
        assert curves(together) == curves(alone)
        assert together.metrics["test/loss"] == alone.metrics["test/loss"]


def test_both_engines_train_the_same_network(make: Make, digits: Dataset, tmp_path: Path, engine: str) -> None:
    """In one epoch, after which rounding has not grown yet."""
    found, expected = (
        train(make(trainer__engine=name, trainer__epochs=1, optimizer__lr=1e-3), digits, tmp_path).history[0]
        for name in (engine, "torch")
    )
    for name in ("train/loss", "val/loss", "grad_norm"):
        assert found[name] == pytest.approx(expected[name], rel=1e-3), name
    assert found["lr"] == expected["lr"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_engine_is_the_one_that_was_chosen(
    make: Make, digits: Dataset, tmp_path: Path, engine: str, precision: str
) -> None:
    config = make(trainer__engine=engine, trainer__precision=precision, trainer__epochs=1)
    train(config, digits, tmp_path)
    assert load(tmp_path)["kept"]["training"]["engine"] == choose(config).identity


class Raises(Observer):
    """Goes wrong where it is told to."""

    def __init__(self, where: str, error: BaseException) -> None:
        super().__init__()
        self.where, self.error = where, error

    def steps(self, n: int) -> None:
        self._raise("steps")

    def epoch(self, epoch: int) -> bool:
        self._raise("epoch")
        return True

    def stop(self) -> bool:
        self._raise("stop")
        return False

    def _raise(self, where: str) -> None:
        if self.where == where:
            raise self.error


@pytest.mark.parametrize("where", ["steps", "epoch", "stop"])
@pytest.mark.parametrize("error", [OSError("no such study"), KeyboardInterrupt("no such study")])
def test_what_is_raised_within_ends_the_run(
    make: Make, digits: Dataset, tmp_path: Path, where: str, error: BaseException, engine: str
) -> None:
    with pytest.raises(type(error), match="no such study"):
        train(make(trainer__engine=engine), digits, tmp_path, Raises(where, error))


def test_a_run_that_was_ended_from_outside_is_not_tested(make: Make, digits: Dataset, tmp_path: Path) -> None:
    outcome = train(make(), digits, tmp_path, Recorder(stop_at=1))
    assert (outcome.state, outcome.cause, outcome.epochs) == (State.INTERRUPTED, "interrupted after epoch 1", 1)
    assert "test/loss" not in outcome.metrics


def test_a_run_that_is_refused_does_not_begin(make: Make, digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="betas"):
        train(make(optimizer__betas=[2.0, 0.9]), digits, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_for_a_while_costs_a_checkpoint_only(
    make: Make, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = checkpoint.save

    def full(folder: Path, state: dict[str, Any]) -> None:
        if len(state["history"]) == 1:
            raise OSError(28, "No space left on device")
        real(folder, state)

    monkeypatch.setattr("rnn_sweep.checkpoint.save", full)
    assert train(make(trainer__epochs=2), digits, tmp_path).state is State.COMPLETE
    assert "no checkpoint of epoch 1" in caplog.text
    assert len(load(tmp_path)["history"]) == 2


def test_the_outcome_of_a_run_is_of_its_best_weights(make: Make, digits: Dataset, tmp_path: Path) -> None:
    outcome = train(make(trainer__epochs=4, trainer__patience=1, optimizer__lr=0.05), digits, tmp_path)
    best = load(tmp_path)["kept"]["training"]["best"]
    assert outcome.metrics["val/loss"] == outcome.history[best["epoch"] - 1]["val/loss"]
    assert outcome.metrics["best_epoch"] == best["epoch"]
    assert outcome.metrics["parameters"] == sum(value.numel() for value in best["weights"].values())


def test_a_run_that_was_killed_after_its_last_needed_epoch_trains_no_more(
    make: Make, digits: Dataset, tmp_path: Path
) -> None:
    still = make(optimizer={"_target_": "torch.optim.SGD", "lr": 1e-30}, trainer__epochs=9, trainer__patience=1)
    first = train(still, digits, tmp_path)
    again = train(still, digits, tmp_path, resume=load(tmp_path))
    assert (first.state, first.epochs) == (again.state, again.epochs) == (State.COMPLETE, 2)


@pytest.mark.parametrize("wish", ["auto", "torch"])
def test_a_run_goes_on_with_the_engine_it_began_with(make: Make, digits: Dataset, tmp_path: Path, wish: str) -> None:
    """``auto`` may mean another engine on the day that a run is resumed."""
    config = make(trainer__engine="torch", model__layers=2, model__dropout=0.2)
    whole = train(config, digits, tmp_path)
    train(config, digits, tmp_path, Recorder(stop_at=1))
    content = load(tmp_path)
    assert content["kept"]["training"]["engine"] == "torch 1 fp32 cpu"
    asked = dataclasses.replace(config, trainer=dataclasses.replace(config.trainer, engine=wish))
    rest = train(asked, digits, tmp_path, resume=content)
    assert curves(rest) == curves(whole)


def other_engine(content: dict[str, Any], name: str) -> dict[str, Any]:
    return {**content, "kept": {"training": {**content["kept"]["training"], "engine": name}}}


@pytest.mark.parametrize("other", ["native 0 fp32", "torch 1 fp32 cuda", "torch 0 fp32 cpu", "other", ""])
def test_another_engine_is_refused(make: Make, digits: Dataset, tmp_path: Path, other: str) -> None:
    config = make(trainer__engine="torch")
    train(config, digits, tmp_path, Recorder(stop_at=1))
    before = shutil.copy(tmp_path / "checkpoint.pt", tmp_path / "before.pt").read_bytes()
    with pytest.raises(UserError, match=f"the run was trained by the engine '{other}'"):
        train(config, digits, tmp_path, resume=other_engine(load(tmp_path), other))
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_bf16_is_tested_in_single_precision(make: Make, digits: Dataset, tmp_path: Path, engine: str) -> None:
    outcome = train(make(trainer__precision="bf16", trainer__engine=engine), digits, tmp_path)
    assert outcome.state is State.COMPLETE
    content = load(tmp_path)
    assert {value.dtype for value in content["kept"]["training"]["weights"].values()} == {torch.float32}
