from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rnn_sweep.config import DataConfig
from rnn_sweep.data import Dataset, load
from rnn_sweep.errors import UserError

N, T, I = 60, 5, 3  # noqa: E741
X = np.random.RandomState(0).normal(size=(N, T, I))
Y = np.arange(N) % 3


@pytest.fixture
def open_npz(tmp_path: Path) -> Any:
    def build(task: str = "classification", *, raw: bytes | None = None, **arrays: Any) -> Dataset:
        path = tmp_path / "mine.npz"
        if raw is not None:
            path.write_bytes(raw)
        else:
            np.savez(path, **arrays)
        options = (("file", str(path)), ("test_size", 0.25))
        return load(DataConfig(name="npz", task=task, batch_size=4, val_size=0.2, options=options))

    return build


def test_a_test_part_is_split_off_by_the_seed(open_npz: Any) -> None:
    data = open_npz(X=X, y=Y)
    assert [len(data.x_train), len(data.x_val), len(data.x_test)] == [36, 9, 15]
    assert (data.outputs, data.scale, data.task, data.per_step) == (3, 1.0, "classification", False)
    known = {tuple(x.ravel().tolist()): y for x, y in zip(X.astype(np.float32), Y, strict=True)}
    found = [(data.x_train, data.y_train), (data.x_val, data.y_val), (data.x_test, data.y_test)]
    pairs = {tuple(x.flatten().tolist()): int(y) for part in found for x, y in zip(*part, strict=True)}
    assert pairs == known
    assert torch.equal(open_npz(X=X, y=Y).x_test, data.x_test)


def test_a_test_part_of_ones_own_is_taken(open_npz: Any) -> None:
    data = open_npz(X=X.astype(">f8"), y=Y.astype(np.uint8), X_test=X[:7], y_test=Y[:7])
    assert len(data.x_train) + len(data.x_val) == N
    torch.testing.assert_close(data.x_test, torch.from_numpy(X[:7]).float())
    assert data.y_test.tolist() == Y[:7].tolist()


def test_bytes_stay_bytes_and_every_step_may_have_a_label(open_npz: Any) -> None:
    data = open_npz(X=np.ones((N, T, I), np.uint8), y=np.tile([0, 1, 2, 3, 0], (N, 1)).astype(np.uint64))
    assert data.x_train.dtype == torch.uint8
    assert data.per_step
    assert data.y_train.shape == (36, T)
    assert data.outputs == 4
    assert data.baseline["naive/accuracy"] == 0.4


@pytest.mark.parametrize(("y", "outputs"), [(X[:, 0, 0], 1), (X[:, 0, :2], 2), (Y, 1)])
def test_values_are_a_regression(open_npz: Any, y: Any, outputs: int) -> None:
    data = open_npz("regression", X=X, y=y)
    assert data.y_train.dtype == torch.float32
    assert data.y_train.shape == (36, outputs)
    mean = data.y_train.double().mean(0)
    assert data.baseline == {"naive/loss": pytest.approx(float((data.y_test - mean).square().mean()))}


NAN = X.copy()
NAN[3, 2, 1] = np.nan

CLASSES, VALUES = "classification", "regression"
WRONG: list[tuple[str, dict[str, Any], str]] = [
    (CLASSES, {"raw": b"a,b\n1,2\n"}, "data.file must be a file of numpy.savez with arrays X and y, got"),
    (CLASSES, {"raw": b""}, "data.file must be a file of numpy.savez"),
    (CLASSES, {"x": X, "y": Y}, r"must hold an array X of shape \[N, T, I\]; got y in"),
    (CLASSES, {"X": X}, r"must hold an array y of shape \[N\] or \[N, T\]; got X in"),
    (CLASSES, {"X": X, "y": Y, "X_test": X}, "must hold an array y_test"),
    (CLASSES, {"X": X[:, :, 0], "y": Y}, r"X of data.file must have the shape \[N, T, I\]; got \[60, 5\]"),
    (CLASSES, {"X": X, "y": Y[:9]}, "y of data.file must have one entry for each of the 60 sequences; got 9"),
    (CLASSES, {"X": X, "y": Y[:, None, None]}, r"y of data.file must have the shape .*; got \[60, 1, 1\]"),
    (CLASSES, {"X": X, "y": Y.reshape(-1, 1)}, "y .* must have a label for each of the 5 steps"),
    (CLASSES, {"X": X.astype(str), "y": Y}, "X of data.file must hold numbers; got <U"),
    (CLASSES, {"X": X.astype(complex), "y": Y}, "X of data.file must hold numbers; got complex128"),
    (CLASSES, {"X": X.astype(object), "y": Y}, "must hold arrays of numbers, got one of Python objects"),
    (CLASSES, {"X": NAN, "y": Y}, r"X of data.file must hold finite numbers; got nan at \[3, 2, 1\], 1 such"),
    (CLASSES, {"X": X * 1e300, "y": Y}, "X of data.file must hold finite numbers; got -?inf"),
    (CLASSES, {"X": X[:0], "y": Y[:0]}, r"X of data.file must not be empty; got \[0, 5, 3\]"),
    (CLASSES, {"X": X, "y": Y - 1}, "y of data.file must hold labels >= 0; got -1"),
    (CLASSES, {"X": X, "y": Y + 1}, "y of data.file must hold every label from 0 to C - 1; .* 0 is missing"),
    (CLASSES, {"X": X, "y": Y * 2}, "y of data.file must hold every label .* 1 is missing; got labels up to 4"),
    (CLASSES, {"X": X, "y": Y * 0}, "y of data.file must hold labels of at least two classes; got 0 alone"),
    (CLASSES, {"X": X, "y": X[:, 0, 0]}, "must hold whole numbers as labels; for values set data.task=regress"),
    (CLASSES, {"X": X, "y": Y, "X_test": X, "y_test": Y + 1}, "y_test .* must hold labels of y, 0 to 2; got 3"),
    (CLASSES, {"X": X, "y": Y, "X_test": X[:, :2], "y_test": Y}, r"X_test .* must have the steps .* \[2, 3\]"),
    (VALUES, {"X": X, "y": NAN[:, 2]}, r"y of data.file must hold finite numbers; got nan at \[3, 1\]"),
    (
        VALUES,
        {"X": X, "y": np.ones(N)},
        r"the training part of data.name=npz .* must have targets that differ.*got \[?1.0",
    ),
    (VALUES, {"X": X, "y": X}, r"y of data.file must have the shape \[N\] or \[N, D\]; got \[60, 5, 3\]"),
    (VALUES, {"X": X, "y": Y, "X_test": X, "y_test": X[:, 0]}, "y_test .* must have 1 values .*; got 3"),
    (CLASSES, {"X": X[:4], "y": Y[:4]}, "data.batch_size must be .* at most the 2 training sequences of npz"),
    (CLASSES, {"X": X[:2], "y": Y[:2]}, "data.test_size must leave sequences on both sides"),
]


@pytest.mark.parametrize(("task", "arrays", "message"), WRONG, ids=[w[2][:60] for w in WRONG])
def test_arrays_that_do_not_fit_are_refused(open_npz: Any, task: str, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        open_npz(task, **arrays)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_refused(open_npz: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "whole.npz", X=X, y=Y)
    content = bytearray((tmp_path / "whole.npz").read_bytes())
    content[200] ^= 255
    with pytest.raises(UserError, match=r"data.file must be a file of numpy.savez, got"):
        open_npz(raw=bytes(content))
    with pytest.raises(UserError, match=r"data.file must be a file of numpy.savez"):
        open_npz(raw=bytes(content[:3000]))
