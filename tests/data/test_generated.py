from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rnn_sweep.config import DataConfig
from rnn_sweep.data import Dataset, load
from rnn_sweep.errors import UserError


def make(name: str, seed: int = 0, **options: int) -> Dataset:
    task = "regression" if name == "adding" else "classification"
    settings = tuple(sorted({"length": 30, "samples": 400, **options}.items()))
    return load(DataConfig(name=name, task=task, val_size=0.25, split_seed=seed, options=settings))


def parts(data: Dataset) -> list[tuple[Tensor, Tensor]]:
    return [(data.x_train, data.y_train), (data.x_val, data.y_val), (data.x_test, data.y_test)]


@pytest.mark.parametrize("length", [3, 30])
def test_adding_marks_one_number_in_each_half(length: int) -> None:
    data = make("adding", length=length)
    assert [len(x) for x, _ in parts(data)] == [300, 100, 80]
    assert (data.steps, data.input_dim, data.outputs, data.per_step) == (length, 2, 1, False)
    for x, y in parts(data):
        assert x.dtype == y.dtype == torch.float32
        marks = x[:, :, 1]
        assert torch.equal(marks[:, : length // 2].sum(1), torch.ones(len(x)))
        assert torch.equal(marks[:, length // 2 :].sum(1), torch.ones(len(x)))
        assert set(marks.unique().tolist()) == {0.0, 1.0}
        torch.testing.assert_close((x[:, :, 0] * marks).sum(1, keepdim=True), y)
        assert 0 <= float(x[:, :, 0].min()) <= float(x[:, :, 0].max()) <= 1


def test_the_naive_answer_of_adding_is_a_sixth() -> None:
    data = make("adding", samples=20_000)
    assert data.baseline == {"naive/loss": pytest.approx(1 / 6, abs=0.01)}
    assert data.baseline["naive/loss"] == pytest.approx(float((data.y_test - data.y_train.mean()).square().mean()))


def test_copy_repeats_the_symbols_after_the_delay() -> None:
    data = make("copy")
    assert (data.steps, data.input_dim, data.outputs, data.per_step) == (50, 10, 9, True)
    for x, y in parts(data):
        assert x.dtype == torch.uint8
        assert y.dtype == torch.int64
        assert torch.equal(x.sum(2), torch.ones(len(x), 50).long())
        read = x.argmax(2)
        assert int(read[:, :10].max()) < 8
        assert torch.equal(read[:, :10], y[:, 40:])
        assert (y[:, :40] == 8).all()
        assert (read[:, 10:39] == 8).all()
        assert (read[:, 39] == 9).all()
        assert (read[:, 40:] == 8).all()
    assert data.baseline["naive/loss"] == pytest.approx(10 * math.log(8) / 50)
    assert data.baseline["naive/accuracy"] == pytest.approx((40 + 10 / 8) / 50)


@pytest.mark.parametrize("name", ["adding", "copy"])
def test_a_seed_gives_the_same_again_and_the_test_part_is_always_the_same(name: str) -> None:
    first, again, other = make(name), make(name), make(name, seed=2**62)
    assert torch.equal(first.x_train, again.x_train)
    assert not torch.equal(first.x_train, other.x_train)
    assert torch.equal(first.x_test, other.x_test)
    assert not torch.equal(first.x_test[:80], first.x_train[:80])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("adding", {"length": 1}, r"data.length must lie in \[2, 100000\], got 1$"),
        ("adding", {"samples": 0}, r"data.samples must lie in \[2, 1e\+07\], got 0$"),
        ("adding", {"samples": 10_000_000, "length": 100_000}, "data.samples=10000000 of .* must fit into half of the"),
        ("copy", {"length": 1.5}, "data.length must be an integer, got 1.5$"),
        ("copy", {"length": "long"}, "data.length must be an integer, got 'long'$"),
        ("copy", {"lenght": 3}, "data.lenght is not a setting of data.name=copy; did you mean 'length'"),
        ("copy", {"samples": 60}, "data.batch_size must be .* at most the 45 training sequences of copy"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(name: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(name, **options)
