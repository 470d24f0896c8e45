"""Sequences of different lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rnn_sweep import data
from rnn_sweep.config import DataConfig
from rnn_sweep.engines import choose
from rnn_sweep.errors import UserError
from rnn_sweep.files import WEIGHTS_FILE
from rnn_sweep.models import ModelSpec, RecurrentNetwork, load_weights
from rnn_sweep.training import check
from tests.apps.parts import padded
from tests.training.conftest import Make, train
from tests.training.test_own_parts import ARRAYS

PADDED = {**ARRAYS, "_target_": "tests.apps.parts.padded", "lengths": True}
GRU = {"model__cell": "gru", "model__nonlinearity": None, "model__init": "default"}


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_an_answer_is_that_of_the_sequence_alone(cell: str) -> None:
    for settings in ({"per_step": False}, {"per_step": True}):
        spec = ModelSpec(cell, 3, 5, layers=2, bidirectional=True, outputs=2, **settings)
        model, x, lengths = RecurrentNetwork(spec).eval(), torch.randn(4, 6, 3), torch.tensor([6, 1, 3, 4])
        together = model(x, lengths)
        for row, length in enumerate(lengths.tolist()):
            alone = model(x[row : row + 1, :length])[0]
            torch.testing.assert_close(together[row, :length] if spec.per_step else together[row], alone)


def test_they_are_trained_by_the_torch_engine_with_dropout_between_layers(make: Make, tmp_path: Path) -> None:
    config = make(data=PADDED, **GRU, model__layers=2, model__dropout=0.1, trainer__epochs=12, optimizer__lr=0.02)
    check(config)
    assert choose(config).reason == "data.name=custom with lengths"
    dataset = data.load(config.data)
    assert dataset.padded
    outcome = train(config, dataset, tmp_path)
    assert outcome.metrics["test/accuracy"] > 0.85
    model = load_weights(tmp_path / WEIGHTS_FILE)
    right = (model(dataset.x_test, dataset.lengths_test).argmax(1) == dataset.y_test).double().mean()
    assert float(right) == pytest.approx(outcome.metrics["test/accuracy"])


def test_steps_that_are_padding_count_for_nothing(make: Make, tmp_path: Path) -> None:
    config = make(data={**PADDED, "labels": "each"}, **GRU, metrics="f1", trainer__epochs=2)
    dataset = data.load(config.data)
    assert dataset.outputs == 2  # the 99s are padding
    assert (dataset.y_test == data.IGNORED).sum() == 7 * len(dataset.y_test) - dataset.lengths_test.sum()  # type: ignore[union-attr]
    metrics = train(config, dataset, tmp_path).metrics
    answer = load_weights(tmp_path / WEIGHTS_FILE)(dataset.x_test, dataset.lengths_test)
    there = dataset.y_test != data.IGNORED
    right = (answer.argmax(-1) == dataset.y_test)[there].double().mean()
    assert metrics["test/accuracy"] == pytest.approx(float(right))
    loss = torch.nn.functional.cross_entropy(answer[there], dataset.y_test[there])
    assert metrics["test/loss"] == pytest.approx(loss.item(), rel=1e-5)


def test_a_module_of_ones_own_is_told_the_lengths(make: Make, tmp_path: Path) -> None:
    config = make(model={"_target_": "tests.apps.parts.Told"}, data=PADDED, trainer__epochs=1)
    check(config)
    assert train(config, data.load(config.data), tmp_path).epochs == 1


def npz(folder: Path, **arrays: Any) -> DataConfig:
    np.savez(folder / "mine.npz", **arrays)
    options = (("file", str(folder / "mine.npz")), ("test_size", 0.25))
    return DataConfig(name="npz", batch_size=4, val_size=0.2, options=options)


def test_a_file_holds_lengths(tmp_path: Path) -> None:
    arrays = padded(60)
    config = npz(tmp_path, **arrays, **{f"{name}_test": array[:9] for name, array in arrays.items()})
    assert data.padded(config)
    found = data.load(config)
    assert found.lengths_test is not None
    assert found.lengths_test.tolist() == arrays["lengths"][:9].tolist()
    behind = torch.arange(7) >= found.lengths_test[:, None]
    assert not found.x_test[behind].any()
    known = {tuple(x.ravel().tolist()): n for x, n in zip(np.nan_to_num(arrays["X"]), arrays["lengths"], strict=True)}
    for x, n in zip(found.x_train, found.lengths_train, strict=True):  # type: ignore[arg-type]
        assert known[tuple(x.flatten().tolist())] == n


def spoilt(**changes: Any) -> dict[str, Any]:
    return {**padded(60), **changes}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            spoilt(lengths=np.ones(9, int)),
            r"lengths of data\.file must have one entry for each of the 60 sequences; got 9",
        ),
        (spoilt(lengths=np.ones(60)), r"lengths of data\.file must hold whole numbers; got float64"),
        (spoilt(lengths=np.full(60, 8)), r"lengths of data\.file must lie in \[1, 7\], the steps of X; got 8"),
        (spoilt(lengths=np.zeros(60, int)), r"lengths of data\.file must lie in \[1, 7\], the steps of X; got 0"),
        (spoilt(lengths=np.full(60, 7)), r"X of data\.file must hold finite numbers; got nan"),
        (spoilt(X_test=padded(9)["X"], y_test=padded(9)["y"]), r"data\.file must hold an array lengths_test"),
        ({"X": np.ones((60, 7, 2)), "y": np.arange(60) % 2, "lengths_test": np.ones(3, int)}, "lengths_test alone"),
    ],
)
def test_lengths_that_do_not_fit_are_one_message(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        data.load(npz(tmp_path, **arrays))
    assert "\n" not in str(refused.value)


def test_what_lengths_exclude_is_said(make: Make) -> None:
    with pytest.raises(UserError, match=r"trainer\.engine=native cannot train data\.name=custom with lengths"):
        choose(make(data=PADDED, trainer__engine="native"))
    with pytest.raises(UserError, match=r"trainer\.gradients must be null for data\.name=custom with lengths"):
        check(make(data=PADDED, trainer__gradients=1))
    with pytest.raises(
        UserError, match=r"data\.lengths must be true where data\._target_ returns lengths, .*; got false"
    ):
        data.load(make(data={**PADDED, "lengths": False}).data)
    with pytest.raises(UserError, match=r"data\.lengths must be true or false, got 3"):
        data.check(make(data={**PADDED, "lengths": 3}).data)
