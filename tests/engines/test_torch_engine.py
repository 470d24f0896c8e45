"""The torch engine against a loop written out by hand, and what it promises beside."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from rnn_sweep.config import Config
from rnn_sweep.data import Dataset
from rnn_sweep.engines.engine import EpochStats, StepSettings
from rnn_sweep.engines.torch_ import engine as module
from rnn_sweep.engines.torch_.engine import TorchEngine
from rnn_sweep.models import RecurrentNetwork, initialise
from rnn_sweep.training.loop import model_spec
from tests.training.conftest import Make

SEQUENCES, BATCH = 70, 32
"""Two whole batches and a small one."""
DEEP: dict[str, Any] = {"model__layers": 3, "model__dropout": 0.4, "model__bidirectional": True}
GRU: dict[str, Any] = {"model__cell": "gru", "model__nonlinearity": None, "model__init": "default"}


def dataset(kind: str = "classes") -> Dataset:
    """Of bytes, with an answer for each sequence, for each step, or values."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (3 * SEQUENCES, 5, 3), dtype=torch.uint8, generator=generator)
    sums = x.double().mean((1, 2))
    y: Tensor = (sums > sums.median()).long()
    if kind == "steps":
        y = (x[..., 0] > 127).long()
    if kind == "values":
        y = torch.stack([sums, -sums], 1).float() / 128
    parts = [part for each in zip(x.split(SEQUENCES), y.split(SEQUENCES), strict=True) for part in each]
    return Dataset("made", *parts, 1 / 255, 2, "regression" if kind == "values" else "classification")


def build(config: Config, data: Dataset) -> TorchEngine:
    """An engine with the run's first weights."""
    spec = model_spec(config, data)
    engine = TorchEngine(config, spec, data, threads=lambda: 1)
    model = RecurrentNetwork(spec)
    initialise(model, spec, config.seed)
    engine.load_weights(model.state_dict())
    return engine


def order(seed: int = 0) -> Tensor:
    return torch.randperm(SEQUENCES, generator=torch.Generator().manual_seed(seed))


def settings(lr: float = 0.01, momentum: list[float] | None = None) -> StepSettings:
    return StepSettings(np.full(3, lr) * [1, 2, 3], None if momentum is None else np.array(momentum))


def quiet(steps: int) -> None:
    """A tick."""


def epoch(engine: TorchEngine, seed: int = 0) -> EpochStats:
    return engine.train_epoch(order(seed), settings(), quiet)


@pytest.mark.parametrize("kind", ["classes", "steps", "values"])
@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("cell", [{}, GRU, {"model__layers": 2, "model__bidirectional": True}], ids=str)
def test_it_is_the_loop_written_out(make: Make, kind: str, clip: float | None, cell: dict[str, Any]) -> None:
    data = dataset(kind)
    sgd = {"_target_": "torch.optim.SGD", "lr": 1.0, "momentum": 0.5}
    task = {"data__task": data.task, "objective": "val/loss"}
    config = make(**cell, **task, optimizer=sgd, trainer__clip_norm=clip, data__batch_size=BATCH)
    engine = build(config, data)
    stats = engine.train_epoch(order(), settings(momentum=[0.9, 0.8, 0.7]), quiet)

    spec = model_spec(config, data)
    model = RecurrentNetwork(spec)
    initialise(model, spec, config.seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    losses, norms, right = [], [], 0.0
    for step, index in enumerate(order().split(BATCH)):
        optimizer.param_groups[0].update(lr=0.01 * (step + 1), momentum=[0.9, 0.8, 0.7][step])
        answer = model(data.x_train[index].float() / 255)
        y = data.y_train[index]
        loss = (
            functional.mse_loss(answer, y)
            if kind == "values"
            else nn.CrossEntropyLoss()(answer.flatten(0, -2), y.flatten())
        )
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), clip or float("inf"))))
        optimizer.step()
        losses.append(loss.item() * len(index))
        right += 0.0 if kind == "values" else float((answer.argmax(-1) == y).double().mean()) * len(index)
    score = right / SEQUENCES
    if kind == "values":
        score = 1 - sum(losses) / SEQUENCES / float(data.y_train.double().var(0, correction=0).mean())
    assert stats.loss == pytest.approx(sum(losses) / SEQUENCES, rel=1e-5)
    assert stats.grad_norm == pytest.approx(sum(norms) / 3, rel=1e-5)
    assert stats.score == pytest.approx(score, abs=1e-5)
    for name, value in engine.weights().items():
        torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["classes", "steps", "values"])
def test_it_measures_in_parts_what_it_would_as_a_whole(make: Make, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    data = dataset(kind)
    config = make(**DEEP, data__batch_size=BATCH, data__task=data.task, objective="val/loss")
    engine = build(config, data)
    whole = engine.evaluate("test")
    monkeypatch.setattr(module, "EVALUATED_AT_ONCE", 32)
    assert engine.evaluate("test")[:2] == pytest.approx(whole[:2], rel=1e-6)
    monkeypatch.setattr(module, "EVALUATED_STATES", 1)
    assert engine.evaluate("test")[:2] == pytest.approx(whole[:2], rel=1e-6)
    model = RecurrentNetwork(model_spec(config, data)).eval()
    model.load_state_dict(engine.weights())
    with torch.no_grad():
        answer = model(data.x_test.float() / 255)
    if kind == "values":
        loss = functional.mse_loss(answer, data.y_test)
    else:
        loss = functional.cross_entropy(answer.flatten(0, -2), data.y_test.flatten())
    assert whole.loss == pytest.approx(float(loss), rel=1e-5)


def test_the_momentum_of_the_adam_family_is_its_first_beta(make: Make) -> None:
    engine = build(make(data__batch_size=BATCH), dataset())
    engine.train_epoch(order(), settings(momentum=[0.9, 0.8, 0.7]), quiet)
    (group,) = engine.state()["optimizer"]["param_groups"]
    assert group["betas"] == (0.7, 0.999)
    assert group["lr"] == pytest.approx(0.03)


def test_numbers_are_scaled_and_left_as_they_are(make: Make) -> None:
    data = dataset()
    floats = replace(data, **{name: getattr(data, name).float() / 2 for name in ("x_train", "x_val", "x_test")})
    floats = replace(floats, scale=2 / 255)
    ours, theirs = (build(make(data__batch_size=BATCH), some) for some in (floats, data))
    for _ in range(2):
        assert ours.evaluate("val")[:2] == pytest.approx(theirs.evaluate("val")[:2], rel=1e-6)
        assert epoch(ours) == pytest.approx(epoch(theirs), rel=1e-4)


def test_dropout_drops_between_layers_and_in_training_only(make: Make) -> None:
    data = dataset()
    config = make(**DEEP, data__batch_size=BATCH)
    engine = build(config, data)
    without = build(replace(config, model=replace(config.model, dropout=0.0)), data)
    assert engine.evaluate("val")[:2] == pytest.approx(without.evaluate("val")[:2], rel=1e-6)
    assert epoch(engine).loss != epoch(without).loss
    one = build(make(model__dropout=0.4, data__batch_size=BATCH), data)
    assert epoch(one) == epoch(build(make(data__batch_size=BATCH), data))


def test_runs_in_threads_draw_the_masks_of_runs_alone(make: Make) -> None:
    data = dataset()
    configs = [make(**DEEP, **GRU, data__batch_size=BATCH, seed=seed) for seed in range(4)]

    def run(config: Config) -> tuple[list[EpochStats], list[Tensor]]:
        engine = build(config, data)
        return [epoch(engine, seed) for seed in range(10)], list(engine.weights().values())

    alone = [run(config) for config in configs]
    together: dict[int, tuple[list[EpochStats], list[Tensor]]] = {}

    def work(k: int) -> None:
        together[k] = run(configs[k])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, (stats, weights) in enumerate(alone):
        assert together[k][0] == stats
        assert all(torch.equal(a, b) for a, b in zip(together[k][1], weights, strict=True))
    assert alone[0][0] != alone[1][0]


@pytest.mark.parametrize("name", ["Adam", "SGD", "NAdam", "Adafactor", "RMSprop", "Rprop", "ASGD"])
def test_its_state_goes_on_exactly(make: Make, name: str) -> None:
    data = dataset()
    optimizer = {"_target_": f"torch.optim.{name}", "lr": 0.01}
    config = make(**DEEP, data__batch_size=BATCH, optimizer=optimizer)
    first, second = build(config, data), build(replace(config, seed=5), data)
    epoch(first)
    weights, state = first.weights(), first.state()
    expected = epoch(first, 1)
    second.load_weights(weights)
    second.load_state(state)
    assert epoch(second, 1) == expected
    assert all(torch.equal(second.weights()[name], value) for name, value in first.weights().items())


def test_weights_that_do_not_fit_are_refused(make: Make) -> None:
    engine = build(make(), dataset())
    weights = engine.weights()
    with pytest.raises(ValueError, match=r"head\.bias"):
        engine.load_weights({name: value for name, value in weights.items() if name != "head.bias"})
    with pytest.raises(ValueError, match=r"head\.bias"):
        engine.load_weights({**weights, "head.bias": torch.zeros(3)})


def test_it_ticks(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = build(make(data__batch_size=BATCH), dataset())
    told: list[int] = []
    engine.train_epoch(order(), settings(), told.append)
    assert told == [3]
    monkeypatch.setattr(module, "TICK_SECONDS", 0.0)
    engine.train_epoch(order(), settings(), told.append)
    assert told == [3, 1, 1, 1]

    def late(steps: int) -> None:
        raise TimeoutError

    before = time.monotonic()
    with pytest.raises(TimeoutError):
        engine.train_epoch(order(), settings(), late)
    assert time.monotonic() - before < 60


def test_a_loss_that_is_not_finite_ends_the_epoch(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DIVERGENCE_INTERVAL", 1)
    engine = build(make(data__batch_size=BATCH), dataset())
    engine.load_weights({name: torch.full_like(value, torch.nan) for name, value in engine.weights().items()})
    told: list[int] = []
    assert np.isnan(engine.train_epoch(order(), settings(), told.append).loss)
    assert sum(told) == 1


@pytest.mark.parametrize("cell", [{}, GRU, {**GRU, "model__cell": "lstm"}], ids=str)
def test_bf16_is_near_fp32_and_keeps_its_weights_in_it(make: Make, cell: dict[str, Any]) -> None:
    data, changes = dataset(), {**DEEP, **cell, "data__batch_size": BATCH}
    single, half = (build(make(**changes, trainer__precision=precision), data) for precision in ("fp32", "bf16"))
    assert half.evaluate("val").loss == pytest.approx(single.evaluate("val").loss, rel=0.02)
    assert epoch(half) != epoch(single)
    assert {value.dtype for value in half.weights().values()} == {torch.float32}
    assert half.identity == "torch 1 bf16 cpu"


def test_operations_are_divided_where_asked_for_only(make: Make, digits: Dataset) -> None:
    torch.set_num_threads(2)
    build(make(), dataset()).evaluate("val")
    assert torch.get_num_threads() == 1
    build(make(trainer__threads=2), dataset()).evaluate("val")
    assert torch.get_num_threads() == 2
