"""The settings ``loss`` and ``metrics``, by name and of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score

from rnn_sweep import data
from rnn_sweep.config import parse, to_tree
from rnn_sweep.engines import choose
from rnn_sweep.errors import UserError
from rnn_sweep.files import WEIGHTS_FILE
from rnn_sweep.models import load_weights
from rnn_sweep.training import check
from tests.training.conftest import Make, train
from tests.training.test_own_parts import ARRAYS, OWN

FOCAL = {"_target_": "tests.apps.parts.Focal", "gamma": 1.0}


def test_a_loss_and_metrics_of_ones_own_train_measure_and_are_recorded(make: Make, tmp_path: Path) -> None:
    confidence = {"_target_": "tests.apps.parts.confidence", "scale": 2}
    asked = {"loss": FOCAL, "metrics": ["f1", "balanced_accuracy", confidence], "objective": "val/f1"}
    config = make(model=OWN, data=ARRAYS, trainer__epochs=3, optimizer__lr=0.02, **asked)
    check(config)
    assert parse({**to_tree(config), "trial": None}) == config
    dataset = data.load(config.data)
    outcome = train(config, dataset, tmp_path)
    best = outcome.history[int(outcome.metrics["best_epoch"]) - 1]
    assert outcome.values == (best["val/f1"],)
    assert "naive/loss" not in outcome.metrics
    with torch.no_grad():
        answer = load_weights(tmp_path / WEIGHTS_FILE)(dataset.x_test)
    found, wanted = answer.argmax(1), dataset.y_test
    assert outcome.metrics["test/f1"] == pytest.approx(f1_score(wanted, found, average="macro"))
    assert outcome.metrics["test/balanced_accuracy"] == pytest.approx(balanced_accuracy_score(wanted, found))
    assert outcome.metrics["test/confidence"] == pytest.approx(float(2 * answer.softmax(1).amax(1).mean()))


def test_r2_is_the_squared_errors_whatever_is_minimised(make: Make, tmp_path: Path) -> None:
    arrays = {**ARRAYS, "task": "regression"}
    config = make(data=arrays, loss="huber", metrics=["rmse", "mae"], objective="val/rmse", trainer__epochs=2)
    dataset = data.load(config.data)
    outcome = train(config, dataset, tmp_path)
    variance = float(dataset.y_test.double().var(dim=0, correction=0))
    assert outcome.metrics["test/r2"] == pytest.approx(1 - outcome.metrics["test/rmse"] ** 2 / variance, rel=1e-5)
    assert outcome.metrics["test/loss"] < outcome.metrics["test/mae"]


def test_the_torch_engine_trains_them_and_says_why(make: Make) -> None:
    assert choose(make(loss=FOCAL)).reason == "loss=tests.apps.parts.Focal"
    assert choose(make(metrics="f1")).reason == "metrics=f1"
    assert make(loss="cross_entropy") == make()
    with pytest.raises(UserError, match=r"trainer\.engine=native cannot train metrics=f1,recall"):
        choose(make(metrics=["f1", "recall"], trainer__engine="native"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "croos_entropy"}, r"loss must be one of cross_entropy, or .*; got 'croos_entropy'; did you mean"),
        ({"loss": "huber"}, "loss must be one of cross_entropy, .*; got 'huber'"),
        ({"loss": 3}, "loss must be a name, the dotted path of a class or function, or a mapping .*, got 3"),
        ({"loss": {"gamma": 2}}, r"loss must be a name, .* got \{'gamma': 2\}"),
        ({"metrics": ["f1", "rmse"]}, "metrics must be one of f1, .*; got 'rmse'"),
        ({"metrics": ["f1", "f1"]}, "metrics must have names of their own, .*; got 'f1' again"),
        ({"objective": "val/f1"}, "objective must be a metric of a run .*, got 'val/f1'"),
        (
            {"loss": FOCAL, "trainer__gradients": 1},
            r"trainer\.gradients must be null for loss=tests\.apps\.parts\.Focal",
        ),
        ({"loss": "tests.apps.parts.nosuch"}, r"loss\._target_ must be importable .*nosuch"),
        (
            {"loss": {**FOCAL, "gama": 1}},
            r"loss\.gama is not an argument of tests\.apps\.parts\.Focal; did you mean 'gamma'",
        ),
        (
            {"metrics": {"_target_": "tests.apps.parts.confidence", "sacle": 1}},
            "metrics=.*confidence must take .*sacle",
        ),
        ({"loss": "tests.apps.parts.each"}, r"loss=.*each must take .* and return one number .*, got a tensor \[\d+\]"),
        (
            {"loss": "tests.apps.parts.constant"},
            "return one number to be minimised, got a tensor .* without a gradient",
        ),
        ({"metrics": "tests.apps.parts.wordy"}, "metrics=.*wordy must take .* and return a number, got .*'good'"),
    ],
)
def test_what_does_not_fit_is_one_message_before_training(
    make: Make, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    def asked() -> None:
        config = make(data=ARRAYS, **settings)
        check(config)
        train(config, data.load(config.data), tmp_path)

    with pytest.raises(UserError, match=message) as refused:
        asked()
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())
