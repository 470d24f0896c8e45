"""Data that are read batch by batch, from iterables of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rnn_sweep import application, data
from rnn_sweep.checkpoint import load
from rnn_sweep.config import to_tree
from rnn_sweep.engines import choose
from rnn_sweep.errors import UserError
from rnn_sweep.files import WEIGHTS_FILE
from rnn_sweep.models import load_weights
from rnn_sweep.training import check
from tests.apps.parts import loaders
from tests.training.conftest import Make, train
from tests.training.test_own_parts import ARRAYS, Until, checked_and_trained, curves

STREAMED = {**ARRAYS, "_target_": "tests.apps.parts.loaders", "batches": True}
SMALL = {"model__hidden_dim": 8, "trainer__epochs": 4, "optimizer__lr": 0.02}


@pytest.mark.parametrize("shuffled", ["by the process", "by its own", "by epoch"])
def test_they_are_trained_batch_by_batch_and_resumed_to_the_same_bits(
    make: Make, tmp_path: Path, shuffled: str
) -> None:
    config = make(data={**STREAMED, "shuffled": shuffled}, metrics="f1", **SMALL)
    check(config)
    assert choose(config).reason == "data.name=custom with batches"
    assert application.alone(to_tree(config)) == "data.batches may draw from the process's generators"
    dataset = data.load(config.data)
    assert [len(part) for part in (dataset.x_train, dataset.x_val, dataset.x_test)] == [32, 16, 40], "first batches"
    whole = train(config, dataset, tmp_path)
    assert whole.images_per_second > 0
    model = load_weights(tmp_path / WEIGHTS_FILE)
    (x, y), *_ = loaders(32)["test"]
    assert whole.metrics["test/accuracy"] == pytest.approx(float((model(x).argmax(1) == y).double().mean()))

    part = tmp_path / "part"
    part.mkdir()
    train(config, dataset, part, Until(2))
    torch.manual_seed(7)
    assert curves(train(config, dataset, part, resume=load(part))) == curves(whole)


def test_values_are_measured_against_the_variance_of_all_batches(make: Make, tmp_path: Path) -> None:
    config = make(data={**STREAMED, "task": "regression", "values": True}, objective="val/r2", **SMALL)
    found = data.load(config.data)
    assert found.outputs == 1
    metrics = train(config, found, tmp_path).metrics
    x, y = (torch.cat(parts) for parts in zip(*loaders(40, values=True)["val"], strict=True))
    answer = load_weights(tmp_path / WEIGHTS_FILE)(x)[:, 0].detach()
    r2 = 1 - (answer - y).square().mean() / y.var(correction=0)
    assert metrics["val/r2_best"] == pytest.approx(float(r2), abs=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batches": False}, r"must return \(X, y\), .*; batches with data\.batches=true, got 'train' of"),
        ({"lengths": True}, r"data\.lengths must be false with data\.batches=true, got true"),
        ({"limit": 9}, r"data\.limit must be null with data\.batches=true, got 9"),
        (
            {"_target_": "tests.apps.parts.sums"},
            r"data\._target_ must return a mapping of train, .*, got a tuple of",
        ),
        ({"_target_": "tests.apps.parts.parted"}, r"must return a mapping of train, .*, got X, y, .*parted: train"),
        (
            {"what": "outputs"},
            r"must return outputs, the number of classes .*; got None of tests\.",
        ),
        ({"what": "outputs", "value": "two"}, r"must return outputs, .*; got 'two' of"),
        ({"what": "none"}, r"val of data\._target_ must have batches; got none in"),
        ({"what": "once"}, r"train of data\._target_ must be an iterable that begins anew each time, .*; got _Single"),
        ({"what": "endless"}, r"train of data\._target_ must have a len\(\), .*; got a Endless without one"),
        ({"what": "triple"}, r"val of data\._target_ must have batches \(X, y\); got a tuple of 3"),
        ({"what": "flat"}, r"X of a batch of train of data\._target_ must have the shape \[N, T, I\]; got \[40, 6\]"),
        ({"what": "steps"}, r"X of a batch of test .* must have the steps and features of X, \[6, 3\]; got \[4, 3\]"),
        ({"what": "nan"}, r"X of a batch of train .* must hold finite numbers; got nan at \[3, 1, 2\]"),
        ({"what": "label"}, r"y of a batch of train .* must hold labels of y, 0 to 1; got 2 in"),
        ({"what": "short"}, r"train of data\._target_ must have as many batches as its len\(\), 3; got 1 in"),
    ],
)
def test_what_does_not_fit_is_one_message(make: Make, tmp_path: Path, settings: Any, message: str) -> None:
    changed = {"_target_": "tests.apps.parts.changed"} if "what" in settings else {}
    config = make(data={**STREAMED, **changed, **settings}, **SMALL)
    with pytest.raises(UserError, match=message) as refused:
        checked_and_trained(config, tmp_path)
    assert "\n" not in str(refused.value)


def test_the_native_engine_says_that_it_cannot(make: Make) -> None:
    with pytest.raises(UserError, match=r"trainer\.engine=native cannot train data\.name=custom with batches"):
        choose(make(data=STREAMED, trainer__engine="native"))
