"""The native engine against autograd and torch.optim in double precision, and against itself in other circumstances."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rnn_sweep.engines.engine import StepSettings
from rnn_sweep.engines.native import abi
from rnn_sweep.engines.native.build import FOLDER
from rnn_sweep.engines.native.engine import NativeEngine
from rnn_sweep.engines.native.library import load
from rnn_sweep.models import ModelSpec, RecurrentNetwork, initialise
from tests.engines.native import CELLS, config, data, engine_for, fingerprint, gradients, spec_for, steps

HEADS = [("classification", False), ("classification", True), ("regression", False)]
SIZES = [(20, 5, 7, 19), (32, 28, 3, 64), (33, 17, 3, 50), (1, 1, 1, 2), (16, 1, 20, 5)]
"""Hidden units, features, steps, sequences: tails of tiles, of vectors and of chunks; nothing to divide at all."""


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("task", "per_step"), HEADS)
@pytest.mark.parametrize(("layers", "bidirectional"), list(itertools.product((1, 2, 3), (False, True))))
def test_loss_and_gradients_are_those_of_autograd(cell, task, per_step, layers, bidirectional):
    """Every kind of network of the native engine against torch's derivatives."""
    for (hidden, inputs, length, count), bytes_ in itertools.product(SIZES, (True, False)):
        spec = spec_for(cell, inputs, hidden, layers=layers, task=task, per_step=per_step, bidirectional=bidirectional)
        dataset = data(count, length, inputs, task=task, per_step=per_step, bytes_=bytes_)
        engine, weights = engine_for(spec, dataset, config(batch=count))
        stats = engine.train_epoch(
            torch.arange(count), steps(1.0, 1), lambda n: None
        )  # SGD with lr = 1: w' = w - ∂L/∂w
        loss, expected = gradients(spec, weights, dataset)
        moved = {name: weights[name].double() - value.double() for name, value in engine.weights().items()}
        assert distance(moved, expected) < 1e-4 * norm(expected)
        assert stats.loss == pytest.approx(loss, rel=1e-5, abs=1e-6)
        assert stats.grad_norm == pytest.approx(norm(expected), rel=1e-4)


@pytest.mark.parametrize("cell", CELLS)
def test_long_sequences_and_wide_layers(cell):
    for hidden, inputs, length, count in ((513, 3, 4, 3), (24, 1, 784, 4)):
        spec = spec_for(cell, inputs, hidden)
        dataset = data(count, length, inputs)
        engine, weights = engine_for(spec, dataset, config(batch=count))
        engine.train_epoch(torch.arange(count), steps(1.0, 1), lambda n: None)
        _, expected = gradients(spec, weights, dataset)
        moved = {name: weights[name].double() - value.double() for name, value in engine.weights().items()}
        assert distance(moved, expected) < 1e-4 * norm(expected)


@pytest.mark.parametrize("cell", CELLS)
def test_bf16_gradients_point_the_same_way(cell):
    if not load().bf16:
        pytest.skip("this processor does not multiply in bfloat16")
    for hidden, inputs, count in ((64, 28, 64), (33, 7, 21)):
        spec = spec_for(cell, inputs, hidden, layers=2, bidirectional=True)
        dataset = data(count, 9, inputs)
        engine, weights = engine_for(spec, dataset, config(batch=count, precision="bf16"))
        engine.train_epoch(torch.arange(count), steps(1.0, 1), lambda n: None)
        _, expected = gradients(spec, weights, dataset)
        moved = {name: weights[name].double() - value.double() for name, value in engine.weights().items()}
        assert distance(moved, expected) < 0.08 * norm(expected)
        assert engine.identity == "native 1 bf16"


OPTIMIZERS = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "weight_decay": 0.01}),
    ("SGD", {"momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"momentum": 0.8, "nesterov": True}),
    ("Adam", {"weight_decay": 0.02}),
    ("Adam", {"betas": (0.8, 0.95), "eps": 1e-6}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
    ("AdamW", {"weight_decay": 0.3, "amsgrad": True}),
    ("RMSprop", {}),
    ("RMSprop", {"centered": True, "momentum": 0.6, "weight_decay": 0.01}),
    ("RMSprop", {"alpha": 0.9, "momentum": 0.5}),
    ("Adagrad", {"lr_decay": 0.01, "weight_decay": 0.01}),
    ("Adagrad", {"initial_accumulator_value": 0.1}),
]


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
@pytest.mark.parametrize("clip", [None, 0.05])
def test_optimisers_are_those_of_torch_step_by_step(name, options, clip):
    """torch.optim in double precision takes the same gradients at the same weights, 200 times."""
    spec, lr = spec_for("tanh", 3, 8), 0.01
    dataset = data(8, 4, 3)
    engine, weights = engine_for(spec, dataset, config(name, lr, clip=clip, batch=8, **options))
    model = RecurrentNetwork(spec).double()
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=lr, **options)
    for _ in range(200):
        model.load_state_dict({key: value.double() for key, value in engine.weights().items()})
        engine.train_epoch(torch.arange(8), steps(lr, 1), lambda n: None)
        gradient = engine.gradient()
        for key, parameter in model.named_parameters():
            parameter.grad = gradient[key].double()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        expected = {key: value.detach() for key, value in model.named_parameters()}
        assert distance(engine.weights(), expected) < 1e-6 * norm(expected)
    assert distance(weights, expected) > 0.01 * norm(expected)


def test_momentum_of_a_schedule_takes_the_place_of_the_optimisers():
    spec, dataset = spec_for("relu", 3, 8), data(16, 4, 3)
    lr, order = np.full(2, 0.01), torch.arange(16)
    plain, _ = engine_for(spec, dataset, config("Adam", 0.01, batch=8, betas=(0.7, 0.999)))
    cycled, _ = engine_for(spec, dataset, config("Adam", 0.01, batch=8))
    plain.train_epoch(order, StepSettings(lr, None), lambda n: None)
    cycled.train_epoch(order, StepSettings(lr, np.full(2, 0.7)), lambda n: None)
    assert fingerprint(plain) == fingerprint(cycled)


@pytest.mark.parametrize("cell", CELLS)
def test_any_number_of_threads_gives_the_same_bits(cell):
    spec, dataset = spec_for(cell, 28, 40, layers=2, dropout=0.3), data(300, 6, 28)
    found = set()
    for threads in (1, 2, 3, 7, 64):
        engine, _ = engine_for(spec, dataset, config("Adam", 1e-3, clip=1.0, batch=64), threads=threads)
        stats = [
            engine.train_epoch(torch.randperm(300, generator=seed(e)), steps(1e-3, 5), lambda n: None) for e in (1, 2)
        ]
        found.add((repr(stats), repr(engine.evaluate("val")), fingerprint(engine)))
    assert len(found) == 1


VARIANTS = """
import torch
from tests.engines.native import CELLS, config, data, engine_for, fingerprint, spec_for, steps
for cell in CELLS:
    for layers, bidirectional, per_step in ((1, False, False), (2, True, False), (2, False, True)):
        spec = spec_for(cell, 28, 40, layers=layers, bidirectional=bidirectional, per_step=per_step, dropout=0.3)
        engine, _ = engine_for(spec, data(150, 12, 28, per_step=per_step), config("Adam", 1e-3, clip=1.0, batch=64))
        stats = engine.train_epoch(torch.arange(150), steps(1e-3, 3), lambda n: None)
        print(repr(stats), repr(engine.evaluate("val")), fingerprint(engine))
"""


@pytest.mark.slow
def test_every_variant_of_the_library_gives_the_same_bits():
    """Vectors of 8 and of 16 numbers: the same chains of fused multiply-adds, the same exp and tanh."""
    found = {}
    for path in sorted(FOLDER.glob("x86-64-*.so")):
        environment = {**os.environ, "RNN_SWEEP_NATIVE": path.stem}
        done = subprocess.run([sys.executable, "-c", VARIANTS], env=environment, capture_output=True, text=True)
        if "does not have" in done.stderr or "needs" in done.stderr:  # this processor cannot run it
            continue
        assert done.returncode == 0, done.stderr
        found[path.stem] = done.stdout
    if len(found) < 2:
        pytest.skip("this processor runs one variant only")
    assert len(set(found.values())) == 1


def test_an_epoch_in_many_calls_gives_the_bits_of_one_call(monkeypatch):
    spec, dataset = spec_for("gru", 5, 24, layers=2, dropout=0.5), data(333, 5, 5)
    found, ticks = set(), []
    for seconds in (1e-9, 10.0):
        monkeypatch.setattr("rnn_sweep.engines.native.pace.TICK_SECONDS", seconds)
        engine, _ = engine_for(spec, dataset, config("Adam", 1e-3, batch=10))
        done: list[int] = []
        stats = engine.train_epoch(torch.arange(333), steps(1e-3, 34), done.append)
        assert sum(done) == 34
        ticks.append(len(done))
        found.add((repr(stats), fingerprint(engine)))
    assert len(found) == 1
    assert ticks[0] > ticks[1]


def test_what_a_tick_raises_ends_the_epoch():
    spec, dataset = spec_for("relu", 5, 24), data(64, 5, 5)
    engine, _ = engine_for(spec, dataset, config(batch=1))

    def end(steps_done: int) -> None:
        raise TimeoutError("late")

    with pytest.raises(TimeoutError, match="late"):
        engine.train_epoch(torch.arange(64), steps(0.1, 64), end)


@pytest.mark.parametrize("cell", CELLS)
def test_going_on_from_weights_and_state_gives_the_same_bits(cell):
    spec, dataset = spec_for(cell, 5, 20, layers=2, dropout=0.4), data(100, 5, 5)
    made = config("RMSprop", 1e-3, clip=1.0, batch=16, momentum=0.5, centered=True)
    whole, _ = engine_for(spec, dataset, made)
    for epoch in range(3):
        whole.train_epoch(torch.randperm(100, generator=seed(epoch)), steps(1e-3, 7), lambda n: None)
        if epoch == 0:
            weights, state = whole.weights(), whole.state()
    later, _ = engine_for(spec, dataset, made)
    later.load_weights(weights)
    later.load_state(state)
    for epoch in (1, 2):
        later.train_epoch(torch.randperm(100, generator=seed(epoch)), steps(1e-3, 7), lambda n: None)
    assert fingerprint(later) == fingerprint(whole)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_dropout_goes_backwards_through_the_mask_it_drew(cell, bidirectional):
    """The loss with a step's masks falls along the gradient as the gradient says: a derivative by differences."""
    spec = spec_for(cell, 6, 24, layers=3, dropout=0.5, bidirectional=bidirectional)
    dataset = data(32, 5, 6)

    def loss_at(weights: dict[str, Tensor]) -> float:
        engine, _ = engine_for(spec, dataset, config(batch=32))
        engine.load_weights(weights)
        return engine.train_epoch(torch.arange(32), steps(0.0, 1), lambda n: None).loss

    engine, weights = engine_for(spec, dataset, config(batch=32))
    engine.train_epoch(torch.arange(32), steps(1.0, 1), lambda n: None)
    gradient = {name: weights[name] - value for name, value in engine.weights().items()}
    square = norm({name: value.double() for name, value in gradient.items()}) ** 2
    step = 0.02 / math.sqrt(square)
    ahead, behind = (
        loss_at({name: weights[name] + sign * step * gradient[name] for name in weights}) for sign in (1, -1)
    )
    assert (ahead - behind) / (2 * step) == pytest.approx(square, rel=0.05)


def test_dropout_drops_its_part_and_only_while_training():
    """Through identity weights: every output of the second layer is one of the first's times 0 or 1 / keep."""
    for dropout in (0.1, 0.5, 0.9):
        spec = ModelSpec("rnn", 1, 64, 2, "relu", dropout, "default", 64, "regression")
        weights = {name: torch.zeros_like(value) for name, value in RecurrentNetwork(spec).state_dict().items()}
        weights["rnn.bias_ih_l0"] += 1
        weights["rnn.weight_ih_l1"] += torch.eye(64)
        weights["head.weight"] += torch.eye(64)
        dataset = replace(
            data(256, 1, 1, task="regression", outputs=64),
            y_train=1e-4 * torch.arange(-1, 3, 2).repeat(128).unsqueeze(1).expand(256, 64),
        )
        dataset = replace(dataset, y_val=torch.zeros(128, 64) + torch.arange(2).repeat(64).unsqueeze(1))
        engine, _ = engine_for(spec, dataset, config(batch=256))
        engine.load_weights(weights)
        loss = engine.train_epoch(torch.arange(256), steps(0.0, 1), lambda n: None).loss  # the mean of (mask · 1)²
        assert loss == pytest.approx(1 / (1 - dropout), rel=0.05)
        assert engine.evaluate("val").loss == pytest.approx(0.5)
        again = engine.train_epoch(torch.arange(256), steps(0.0, 1), lambda n: None).loss
        assert again != loss


def test_divergence_ends_the_epoch():
    spec, dataset = spec_for("relu", 5, 24), data(64, 5, 5, bytes_=False)
    for poison in (math.nan, math.inf):
        x = dataset.x_train.clone()
        x[10, 2, 3] = poison
        engine, _ = engine_for(spec, replace(dataset, x_train=x), config(batch=8))
        assert not math.isfinite(engine.train_epoch(torch.arange(64), steps(0.1, 8), lambda n: None).loss)
    engine, _ = engine_for(spec, dataset, config(batch=8))
    assert not math.isfinite(engine.train_epoch(torch.arange(64), steps(1e30, 8), lambda n: None).loss)


@pytest.mark.parametrize("cell", CELLS)
def test_evaluation_is_that_of_the_readable_model(cell):
    for task, per_step in HEADS:
        spec = spec_for(cell, 5, 20, layers=2, task=task, per_step=per_step, bidirectional=True, dropout=0.5)
        dataset = data(77, 6, 5, task=task, per_step=per_step)
        engine, weights = engine_for(spec, dataset, config(batch=16))
        model = RecurrentNetwork(spec).double().eval()
        model.load_state_dict({name: value.double() for name, value in weights.items()})
        with torch.no_grad():
            found = model(dataset.x_val.double() * dataset.scale)
        measured = engine.evaluate("val")
        if task == "regression":
            loss = torch.nn.functional.mse_loss(found, dataset.y_val.double())
            score = 1 - loss / dataset.y_val.double().var(dim=0, correction=0).mean()
        else:
            loss = torch.nn.functional.cross_entropy(found.flatten(0, -2), dataset.y_val.flatten())
            score = (found.argmax(-1) == dataset.y_val).double().mean()
        assert measured.loss == pytest.approx(float(loss), rel=1e-5)
        assert measured.score == pytest.approx(float(score), abs=1e-5)


def test_weights_come_back_as_they_went_in():
    for cell, layers, bidirectional in itertools.product(CELLS, (1, 3), (False, True)):
        spec = spec_for(cell, 7, 21, layers=layers, bidirectional=bidirectional)
        engine, weights = engine_for(spec, data(8, 3, 7), config(batch=8))
        back = engine.weights()
        assert list(back) == list(weights)
        assert all(torch.equal(back[name], weights[name]) for name in weights)
        with pytest.raises(ValueError, match="shapes"):
            engine.load_weights({name: value[:1] for name, value in weights.items()})


# ---- the boundary: nothing that does not fit leaves Python ------------------------------------------------------


def test_what_does_not_fit_is_refused_before_the_call():
    spec, dataset = spec_for("relu", 5, 8), data(16, 3, 5)
    engine, _ = engine_for(spec, dataset, config(batch=8))
    for order in (torch.arange(15), torch.arange(1, 17), torch.arange(-1, 15), torch.zeros(2, 8, dtype=torch.int64)):
        with pytest.raises(ValueError, match="order must be 16 indices"):
            engine.train_epoch(order, steps(0.1, 2), lambda n: None)
    for wrong in (steps(0.1, 3), StepSettings(np.full(2, 0.1), np.full(1, 0.9))):
        with pytest.raises(ValueError, match="settings"):
            engine.train_epoch(torch.arange(16), wrong, lambda n: None)
    for name, y in (
        ("labels", dataset.y_train + 8),
        ("labels", dataset.y_train - 10),
        ("y must be", dataset.y_train[:3]),
    ):
        engine, _ = engine_for(spec, replace(dataset, y_train=y), config(batch=8))
        with pytest.raises(ValueError, match=name):
            engine.train_epoch(torch.arange(16), steps(0.1, 2), lambda n: None)
    engine, _ = engine_for(spec, replace(dataset, x_train=dataset.x_train[:, :, :4]), config(batch=8))
    with pytest.raises(ValueError, match="x must be"):
        engine.train_epoch(torch.arange(16), steps(0.1, 2), lambda n: None)


@settings(max_examples=200, deadline=None)
@given(
    cell=st.sampled_from(["rnn", "lstm", "gru"]),
    sizes=st.tuples(*[st.integers(-3, 40)] * 5),
    steps_=st.integers(-2, 12),
    batch=st.integers(-2, 70),
    dropout=st.floats(-0.5, 1.5),
    threads=st.integers(-2, 200),
)
def test_no_shape_reaches_the_library_unchecked(cell, sizes, steps_, batch, dropout, threads):
    """Any sizes either train, with finite figures, or are refused in Python."""
    inputs, hidden, layers, outputs, count = sizes
    spec = ModelSpec(cell, inputs, hidden, layers, None, dropout, "default", outputs)
    try:
        abi.shape(spec, steps_, batch, bf16=False, seed=1)
    except ValueError:
        return
    if count < 1 or hidden * layers > 300:
        return
    dataset = data(count, steps_, inputs, outputs=outputs)
    engine = NativeEngine(config(batch=batch), spec, dataset, threads=lambda: threads)
    model = RecurrentNetwork(spec)
    initialise(model, spec, 1)
    engine.load_weights(model.state_dict())
    stats = engine.train_epoch(torch.arange(count), steps(0.1, -(-count // min(batch, count))), lambda n: None)
    assert math.isfinite(stats.loss)
    assert math.isfinite(engine.evaluate("val").loss)


def distance(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    return norm({name: a[name] - b[name] for name in b})


def norm(tensors: dict[str, Tensor]) -> float:
    return math.sqrt(sum(float(tensor.square().sum()) for tensor in tensors.values()))


def seed(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)
