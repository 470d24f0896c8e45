"""Arrays of one's own: ``X`` and ``y`` in a file of ``numpy.savez``."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rnn_sweep.config import DataConfig
from rnn_sweep.data.checking import held_out
from rnn_sweep.data.family import Array, Arrays, Option, Options, steady
from rnn_sweep.errors import UserError


@dataclass(frozen=True)
class Npz:
    """``X`` [N, T, I] and ``y``: labels [N] or [N, T] for classification, values [N] or [N, D] for regression.

    ``X_test`` and ``y_test`` are the test part; where the file lacks them, ``test_size`` of the sequences are, drawn by
    ``split_seed``. Features are taken as they are.
    """

    name: str = "npz"
    tasks: tuple[str, ...] = ("classification", "regression")
    options: Mapping[str, Option] = field(default_factory=lambda: {"file": Option(None), "test_size": Option(0.2, 0)})

    def size(self, options: Options) -> None:
        """The arrays show when the file is opened."""

    def open(self, config: DataConfig, options: Options) -> Arrays:
        """Read and check the arrays; whatever is wrong with them is a UserError."""
        file = File(options["file"], read(options["file"]))
        target = file.values if config.task == "regression" else file.labels
        x = file.features("X")
        y = target("y", x)
        if file.has("X_test") or file.has("y_test"):
            x_test = file.features("X_test", like=x)
            y_test = target("y_test", x_test, like=y)
        else:
            count = held_out("data.test_size", options["test_size"], len(x), self.name)
            order = steady(config.split_seed, part=2).permutation(len(x))
            x, x_test, y, y_test = x[order[count:]], x[order[:count]], y[order[count:]], y[order[:count]]
        if config.task == "regression":
            return Arrays(x, y, x_test, y_test, outputs=y.shape[1])
        return Arrays(x, y, x_test, y_test, outputs=file.classes())


def read(path: Path) -> Mapping[str, Array]:
    """The arrays of a file by name; nothing in it is executed."""
    if not zipfile.is_zipfile(path):
        raise UserError(f"data.file must be a file of numpy.savez with arrays X and y, got '{path}'")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: np.asarray(arrays[name]) for name in ("X", "y", "X_test", "y_test") if name in arrays}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if "Object arrays" in str(error):
            raise UserError(f"data.file must hold arrays of numbers, got one of Python objects in '{path}'") from error
        raise UserError(f"data.file must be a file of numpy.savez, got '{path}': {error}") from error


@dataclass(frozen=True)
class File:
    """The arrays of a file, to be checked one by one; what does not fit is a UserError."""

    path: Path
    arrays: Mapping[str, Array]

    def has(self, name: str) -> bool:
        """Whether the file holds an array of that name."""
        return name in self.arrays

    def features(self, name: str, like: Array | None = None) -> Array:
        """Sequences [N, T, I], uint8 or float32; T and I as those of ``like``."""
        x = self._numbers(name, "[N, T, I]", (3,))
        if like is not None and x.shape[1:] != like.shape[1:]:
            raise self._wrong(name, f"have the steps and features of X, {list(like.shape[1:])}", list(x.shape[1:]))
        return x if x.dtype == np.uint8 else self._finite(name, x)

    def values(self, name: str, x: Array, like: Array | None = None) -> Array:
        """Targets [N, D] float32 of a regression."""
        y = self._finite(name, self._counted(name, self._numbers(name, "[N] or [N, D]", (1, 2)), x))
        y = y[:, None] if y.ndim == 1 else y
        if like is not None and y.shape[1] != like.shape[1]:
            raise self._wrong(name, f"have {like.shape[1]} values for each sequence as y has", y.shape[1])
        return y

    def labels(self, name: str, x: Array, like: Array | None = None) -> Array:
        """Labels [N] or [N, T] of a classification: all of 0 to C - 1, and none but them in the test part."""
        y = self._counted(name, self._numbers(name, "[N] or [N, T]", (1, 2)), x)
        if y.dtype.kind == "f":
            raise self._wrong(name, "hold whole numbers as labels; for values set data.task=regression", y.dtype)
        y = y.astype(np.int64)
        if y.ndim == 2 and y.shape[1] != x.shape[1]:
            raise self._wrong(name, f"have a label for each of the {x.shape[1]} steps", list(y.shape))
        if y.min() < 0:
            raise self._wrong(name, "hold labels >= 0", int(y.min()))
        if like is not None:
            if y.ndim != like.ndim:
                raise self._wrong(name, f"have {like.ndim} dimensions as y has", y.ndim)
            if y.max() >= self.classes():
                raise self._wrong(name, f"hold labels of y, 0 to {self.classes() - 1}", int(y.max()))
            return y
        present = np.unique(y)
        if len(present) == 1:
            raise self._wrong(name, "hold labels of at least two classes", f"{present[0]} alone")
        if present[-1] != len(present) - 1:
            missing = int(np.argmax(present != np.arange(len(present))))
            rule = f"hold every label from 0 to C - 1; there are {len(present)} of them, {missing} is missing"
            raise self._wrong(name, rule, f"labels up to {present[-1]}")
        return y

    def classes(self) -> int:
        """C, once the labels of ``y`` have been checked."""
        return int(self.arrays["y"].max()) + 1

    def _numbers(self, name: str, shape: str, dimensions: tuple[int, ...]) -> Array:
        if name not in self.arrays:
            got = ", ".join(self.arrays) or "none of its names"
            raise UserError(f"data.file must hold an array {name} of shape {shape}; got {got} in '{self.path}'")
        array = self.arrays[name]
        if array.dtype.kind not in "buif":
            raise self._wrong(name, "hold numbers", array.dtype)
        if array.ndim not in dimensions:
            raise self._wrong(name, f"have the shape {shape}", list(array.shape))
        if array.size == 0:
            raise self._wrong(name, "not be empty", list(array.shape))
        return array

    def _counted(self, name: str, y: Array, x: Array) -> Array:
        if len(y) != len(x):
            raise self._wrong(name, f"have one entry for each of the {len(x)} sequences", len(y))
        return y

    def _finite(self, name: str, array: Array) -> Array:
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
        bad = ~np.isfinite(array)
        if bad.any():
            at = [int(i) for i in np.argwhere(bad)[0]]
            raise self._wrong(name, "hold finite numbers", f"{array[tuple(at)]} at {at}, {int(bad.sum())} such in all")
        return array

    def _wrong(self, name: str, rule: str, got: object) -> UserError:
        return UserError(f"{name} of data.file must {rule}; got {got} in '{self.path}'")


FAMILY = Npz()
