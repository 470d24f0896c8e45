"""Regressions, an answer for each step, and both directions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rnn_sweep.data import Dataset
from rnn_sweep.files import WEIGHTS_FILE
from rnn_sweep.models import load_weights
from tests.training.conftest import Make, train

T, I = 6, 2  # noqa: E741


def dataset(task: str, per_step: bool) -> Dataset:
    """The running sum of the first feature: its end, its sign at the end, or its sign at each step."""
    x = torch.randn(900, T, I, generator=torch.Generator().manual_seed(0))
    sums = x[..., 0].cumsum(1)
    y: Tensor
    if task == "regression":
        y = torch.stack([sums[:, -1], -2 * sums[:, 2]], 1)
    else:
        y = (sums if per_step else sums[:, -1]).gt(0).long()
    parts = (slice(0, 600), slice(600, 750), slice(750, 900))
    x_train, x_val, x_test = (x[part] for part in parts)
    y_train, y_val, y_test = (y[part] for part in parts)
    naive = {"naive/loss": 1.5}
    return Dataset("sums", x_train, y_train, x_val, y_val, x_test, y_test, 1.0, 2, task, naive)


KINDS = [("regression", False, False), ("regression", False, True), ("classification", True, False)]
KINDS += [("classification", True, True), ("classification", False, True)]


def settings(task: str, both: bool, **more: Any) -> dict[str, Any]:
    cell = {"model__cell": "gru", "model__nonlinearity": None, "model__init": "orthogonal", "model__layers": 2}
    size = {"model__hidden_dim": 20, "model__dropout": 0.1, "model__bidirectional": both, "data__batch_size": 32}
    return {**cell, **size, "objective": "val/loss", "trainer__epochs": 6, "optimizer__lr": 0.02, **more}


@pytest.mark.parametrize(("task", "per_step", "both"), KINDS)
def test_it_learns_and_keeps_the_weights_that_answer_so(
    make: Make, tmp_path: Path, task: str, per_step: bool, both: bool, engine: str
) -> None:
    data, score = dataset(task, per_step), "r2" if task == "regression" else "accuracy"
    outcome = train(make(**settings(task, both, trainer__engine=engine)), data, tmp_path)
    metrics = outcome.metrics
    assert metrics[f"test/{score}"] > 0.9
    assert metrics[f"val/{score}_best"] == max(row[f"val/{score}"] for row in outcome.history)
    assert outcome.history[-1]["train/loss"] < outcome.history[0]["train/loss"] / 2
    assert metrics["naive/loss"] == 1.5
    assert outcome.values == (metrics["val/loss"],)
    model = load_weights(tmp_path / WEIGHTS_FILE)
    with torch.no_grad():
        answer = model(data.x_test)
    if task == "regression":
        error = (answer - data.y_test).square().mean()
        assert metrics["test/loss"] == pytest.approx(float(error), rel=1e-5)
        assert metrics["test/r2"] == pytest.approx(float(1 - error / data.y_test.var(0, correction=0).mean()), abs=1e-5)
    else:
        assert metrics["test/accuracy"] == pytest.approx(float((answer.argmax(-1) == data.y_test).double().mean()))
