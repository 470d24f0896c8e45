from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from rnn_sweep.checkpoint import load
from rnn_sweep.config import to_tree
from rnn_sweep.data import Dataset
from rnn_sweep.errors import UserError
from rnn_sweep.files import CHECKPOINT_FILE, WEIGHTS_FILE
from rnn_sweep.models import load_weights
from rnn_sweep.outcome import Outcome, State
from rnn_sweep.training import check
from tests.training.conftest import Make, Observer, train

CURVES = ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "lr", "grad_norm")


def curves(outcome: Outcome) -> list[list[float]]:
    return [[row[name] for name in CURVES] for row in outcome.history]


class Recorder(Observer):
    """Counts what it is told, and ends the run as asked."""

    def __init__(self, *, prune_at: int | None = None, stop_at: int | None = None) -> None:
        super().__init__()
        self.trained = 0
        self.epochs: list[int] = []
        self.prune_at = prune_at
        self.stop_at = stop_at

    def steps(self, n: int) -> None:
        self.trained += n

    def epoch(self, epoch: int) -> bool:
        self.epochs.append(epoch)
        return epoch != self.prune_at

    def stop(self) -> bool:
        return self.epochs[-1:] == [self.stop_at]


def test_it_learns_the_digits(make: Make, digits: Dataset, tmp_path: Path, engine: str) -> None:
    outcome = train(make(trainer__epochs=10, trainer__engine=engine), digits, tmp_path)
    assert outcome.state is State.COMPLETE
    assert outcome.metrics["test/accuracy"] > 0.9
    assert outcome.metrics["val/accuracy"] == outcome.metrics["val/accuracy_best"]
    assert float(outcome) == outcome.metrics["val/accuracy"] == max(r["val/accuracy"] for r in outcome.history)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_the_same_seed_gives_the_same_bits(make: Make, digits: Dataset, tmp_path: Path, cell: str, engine: str) -> None:
    model: dict[str, Any] = {"model__cell": cell, "model__layers": 2, "model__dropout": 0.2, "trainer__engine": engine}
    if cell != "rnn":
        model |= {"model__nonlinearity": None, "model__init": "orthogonal"}
    first, second = (train(make(**model), digits, tmp_path) for _ in range(2))
    assert curves(first) == curves(second)
    assert first.metrics["test/loss"] == second.metrics["test/loss"]


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_torchs_threads_change_no_bit(make: Make, digits: Dataset, tmp_path: Path, cell: str, engine: str) -> None:
    """Whatever torch would do on this machine: a trial of a sweep has one thread, and must be the run alone."""
    model: dict[str, Any] = {"model__cell": cell, "model__hidden_dim": 128, "model__init": "orthogonal"}
    model["trainer__engine"] = engine
    if cell != "rnn":
        model["model__nonlinearity"] = None
    outcomes = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        outcomes.append(train(make(**model, trainer__epochs=1), digits, tmp_path))
    first, second = outcomes
    assert curves(first) == curves(second)
    assert first.metrics["test/loss"] == second.metrics["test/loss"]


def test_another_seed_gives_other_curves_on_the_same_split(make: Make, digits: Dataset, tmp_path: Path) -> None:
    assert curves(train(make(seed=1), digits, tmp_path)) != curves(train(make(seed=2), digits, tmp_path))


def test_each_epoch_has_all_its_figures(make: Make, digits: Dataset, tmp_path: Path) -> None:
    observer = Recorder()
    outcome = train(make(), digits, tmp_path, observer)
    steps = math.ceil(len(digits.x_train) / 32)
    assert observer.epochs == [1, 2, 3]
    assert observer.trained == 3 * steps
    assert len(outcome.history) == outcome.epochs == 3
    for row in outcome.history:
        assert set(row) == {*CURVES, "images_per_second"}
        assert all(math.isfinite(value) for value in row.values())


def test_losses_are_means_over_images_whatever_the_last_batch(make: Make, digits: Dataset, tmp_path: Path) -> None:
    # Without learning, every epoch's loss is the mean over all images of the untrained network's loss, so it
    # cannot depend on how the images fall into batches. SGD with a vanishing rate is as good as no learning.
    still: dict[str, Any] = {
        "optimizer": {"_target_": "torch.optim.SGD", "lr": 1e-30},
        "scheduler": {"name": "none"},
        "trainer__epochs": 1,
    }
    losses = [
        train(make(**still, data__batch_size=size), digits, tmp_path).history[0]["train/loss"]
        for size in (32, len(digits.x_train) - 1)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ({"name": "none"}, [0.005, 0.005, 0.005]),
        ({"name": "step", "step_size": 1, "gamma": 0.5}, [0.005, 0.0025, 0.00125]),
    ],
)
def test_the_learning_rate_follows_the_schedule(
    make: Make, digits: Dataset, tmp_path: Path, scheduler: dict[str, Any], expected: list[float]
) -> None:
    outcome = train(make(scheduler=scheduler), digits, tmp_path)
    assert [row["lr"] for row in outcome.history] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["onecycle", "cosine"])
def test_annealing_schedules_end_near_zero(make: Make, digits: Dataset, tmp_path: Path, name: str) -> None:
    outcome = train(make(scheduler={"name": name}), digits, tmp_path)
    assert outcome.history[-1]["lr"] < 0.005 / 100


def test_a_plateau_lowers_the_rate(make: Make, digits: Dataset, tmp_path: Path) -> None:
    scheduler = {"name": "plateau", "factor": 0.5, "patience": 0}
    outcome = train(make(scheduler=scheduler, optimizer__lr=0.5, trainer__epochs=8), digits, tmp_path)
    assert outcome.history[-1]["lr"] < 0.5


def test_a_loss_that_is_not_finite_ends_the_run_as_diverged(
    make: Make, digits: Dataset, tmp_path: Path, engine: str
) -> None:
    wild: dict[str, Any] = {
        "trainer__engine": engine,
        "optimizer": {"_target_": "torch.optim.SGD", "lr": 1e18},
        "scheduler": {"name": "none"},
        "trainer__clip_norm": None,
    }
    outcome = train(make(**wild), digits, tmp_path)
    assert outcome.state is State.DIVERGED
    assert "NaN or infinite in epoch 1" in str(outcome.cause)
    assert outcome.values == ()
    assert math.isnan(float(outcome))
    assert "test/accuracy" not in outcome.metrics


def test_divergence_keeps_the_last_finite_metrics(make: Make, digits: Dataset, tmp_path: Path) -> None:
    # The rate jumps from harmless to absurd after the first epoch.
    growing: dict[str, Any] = {
        "optimizer": {"_target_": "torch.optim.SGD", "lr": 1e-3},
        "scheduler": {"name": "step", "step_size": 1, "gamma": 1e25},
        "trainer__clip_norm": None,
    }
    outcome = train(make(**growing), digits, tmp_path)
    assert outcome.state is State.DIVERGED
    assert outcome.epochs == 1
    assert all(math.isfinite(value) for value in outcome.metrics.values())
    assert outcome.metrics["val/accuracy"] == outcome.history[0]["val/accuracy"]


def test_clipping_bounds_the_step(make: Make, digits: Dataset, tmp_path: Path) -> None:
    tight = train(make(trainer__clip_norm=1e-9, optimizer={"_target_": "torch.optim.SGD", "lr": 0.1}), digits, tmp_path)
    assert tight.history[0]["train/loss"] == pytest.approx(tight.history[-1]["train/loss"], rel=1e-3)
    assert tight.history[0]["grad_norm"] > 1e-3  # the norm is the one before clipping


def test_patience_ends_a_run_that_no_longer_improves(make: Make, digits: Dataset, tmp_path: Path) -> None:
    still = {"_target_": "torch.optim.SGD", "lr": 1e-30}
    outcome = train(make(optimizer=still, trainer__epochs=50, trainer__patience=2), digits, tmp_path)
    assert outcome.state is State.COMPLETE
    assert outcome.epochs == 3
    assert outcome.metrics["best_epoch"] == 1


def test_an_observer_prunes(make: Make, digits: Dataset, tmp_path: Path) -> None:
    outcome = train(make(), digits, tmp_path, Recorder(prune_at=2))
    assert (outcome.state, outcome.epochs) == (State.PRUNED, 2)
    assert len(outcome.values) == 1


def test_the_kept_weights_are_the_best_ones(make: Make, digits: Dataset, tmp_path: Path) -> None:
    outcome = train(make(trainer__epochs=6), digits, tmp_path)
    model = load_weights(tmp_path / WEIGHTS_FILE)
    with torch.no_grad():
        logits = model(digits.x_val.float() * digits.scale)
    accuracy = (logits.argmax(1) == digits.y_val).double().mean().item()
    assert accuracy == pytest.approx(outcome.metrics["val/accuracy_best"], abs=0.005)


@pytest.mark.parametrize("scheduler", ["onecycle", "step", "plateau"])
def test_a_resumed_run_ends_as_an_uninterrupted_one(
    make: Make, digits: Dataset, tmp_path: Path, engine: str, scheduler: str
) -> None:
    changes: dict[str, Any] = {"trainer__engine": engine, "scheduler": {"name": scheduler}}
    config = make(trainer__epochs=4, model__layers=2, model__dropout=0.3, **changes)
    whole = train(config, digits, tmp_path)
    part = train(config, digits, tmp_path, Recorder(stop_at=2))
    assert (part.state, part.epochs) == (State.INTERRUPTED, 2)
    state = load(tmp_path)
    assert (state["run_id"], state["config"]) == (None, to_tree(config))
    rest = train(config, digits, tmp_path, resume=state)
    assert curves(rest) == curves(whole)
    assert rest.metrics["test/loss"] == whole.metrics["test/loss"]


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_refused(make: Make, digits: Dataset, tmp_path: Path, damage: bytes | None) -> None:
    train(make(trainer__epochs=1), digits, tmp_path)
    path = tmp_path / CHECKPOINT_FILE
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if damage is None else damage)
    with pytest.raises(UserError, match=r"checkpoint\.pt is damaged"):
        load(tmp_path)


def test_a_checkpoint_that_holds_code_is_not_executed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"version": 1, "weights": Evil()}, tmp_path / CHECKPOINT_FILE)
    with pytest.raises(UserError, match="damaged"):
        load(tmp_path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path, folder: str) -> None:
    with pytest.raises(UserError, match=r"trainer\.resume"):
        load(tmp_path / folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"optimizer": {"_target_": "torch.optim.Adamm", "lr": 1.0}},
            ["optimizer._target_", "Adamm", "'Adam'"],
        ),
        ({"optimizer__momentun": 0.9}, ["optimizer.momentun", "torch.optim.Adam"]),
        ({"optimizer__betas": [2.0, 0.9]}, ["optimizer", "2.0"]),
        ({"optimizer": {"_target_": "torch.optim.LBFGS", "lr": 1.0}}, ["LBFGS", "closure"]),
        ({"trainer__device": "cuda:7"}, ["trainer.device", "cuda:7"]),
    ],
)
def test_what_torch_would_refuse_is_refused_first(make: Make, changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        check(make(**changes))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("name", ["NAdam", "Adagrad", "Adamax", "ASGD", "Rprop", "RAdam", "Adadelta", "Adafactor"])
@pytest.mark.parametrize("scheduler", ["none", "onecycle"])
def test_any_torch_optimizer_trains(make: Make, digits: Dataset, tmp_path: Path, name: str, scheduler: str) -> None:
    optimizer = {"_target_": f"torch.optim.{name}", "lr": 0.01}
    config = make(optimizer=optimizer, trainer__epochs=1, scheduler={"name": scheduler})
    check(config)
    assert train(config, digits, tmp_path).state is State.COMPLETE


def test_limit_and_splits_reach_the_run(make: Make, digits: Dataset, tmp_path: Path) -> None:
    small = dataclasses.replace(digits, x_train=digits.x_train[:64], y_train=digits.y_train[:64])
    observer = Recorder()
    train(make(trainer__epochs=1), small, tmp_path, observer)
    assert observer.trained == 2
