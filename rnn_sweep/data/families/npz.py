"""Arrays of one's own: ``X`` and ``y`` in a file of ``numpy.savez``."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rnn_sweep.config import DataConfig
from rnn_sweep.data.checking import held_out
from rnn_sweep.data.family import IGNORED, Array, Arrays, Option, Options, steady
from rnn_sweep.errors import UserError


@dataclass(frozen=True)
class Npz:
    """``X`` [N, T, I] and ``y``: labels [N] or [N, T] for classification, values [N] or [N, D] for regression.

    ``X_test`` and ``y_test`` are the test part, ``X_val`` and ``y_val`` the validation part; without a test part,
    ``test_size`` of the sequences are, drawn by ``split_seed``. Features are taken as they are. With ``lengths`` [N]
    (``lengths_val``, ``lengths_test``) sequences are padded to T steps, and what is behind their length is not read.
    """

    name: str = "npz"
    tasks: tuple[str, ...] = ("classification", "regression")
    options: Mapping[str, Option] = field(default_factory=lambda: {"file": Option(None), "test_size": Option(0.2, 0)})

    def size(self, options: Options) -> None:
        """The arrays show when the file is opened."""

    def padded(self, options: Options) -> bool:
        """Whether the file holds ``lengths``."""
        path = Path(str(options.get("file") or "")).expanduser()
        if not path.is_file() or not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as file:
            return "lengths.npy" in file.namelist()

    def open(self, config: DataConfig, options: Options) -> Arrays:
        """Read and check the arrays; whatever is wrong with them is a UserError."""
        return assemble(File(options["file"], read(options["file"])), config, options["test_size"], self.name)


def assemble(file: File, config: DataConfig, test_size: float, name: str) -> Arrays:
    """Check arrays and put them together; what has no test part gives some of its sequences for one."""
    for stray in ("lengths_val", "lengths_test"):
        if file.has(stray) and not file.has("lengths"):
            raise UserError(f"{file.key} must hold an array lengths beside {stray}; got {stray} alone in '{file.path}'")
    x, y, lengths = _part(file, config, "")
    outputs = y.shape[1] if config.task == "regression" else int(y.max()) + 1
    validation = lengths_val = None
    if file.has("X_val") or file.has("y_val"):
        x_val, y_val, lengths_val = _part(file, config, "_val", x, y)
        validation = x_val, y_val
    if file.has("X_test") or file.has("y_test"):
        x_test, y_test, lengths_test = _part(file, config, "_test", x, y)
    else:
        count = held_out("data.test_size", test_size, len(x), name)
        order = steady(config.split_seed, part=2).permutation(len(x))
        x, x_test, y, y_test = x[order[count:]], x[order[:count]], y[order[count:]], y[order[:count]]
        lengths, lengths_test = (None, None) if lengths is None else (lengths[order[count:]], lengths[order[:count]])
    more: dict[str, Any] = {"lengths": lengths, "lengths_val": lengths_val, "lengths_test": lengths_test}
    return Arrays(x, y, x_test, y_test, outputs=outputs, validation=validation, **more)


def _part(
    file: File, config: DataConfig, end: str, like_x: Array | None = None, like_y: Array | None = None
) -> tuple[Array, Array, Array | None]:
    """Sequences, targets and lengths of one part; what is behind a length is zeros, and labels of it are ignored."""
    lengths = file.lengths(f"lengths{end}", f"X{end}") if file.has("lengths") else None
    x = file.features(f"X{end}", like_x, lengths)
    if config.task == "regression":
        return x, file.values(f"y{end}", x, like_y), lengths
    return x, file.labels(f"y{end}", x, like_y, lengths), lengths


NAMES = ("X", "y", "lengths", "X_val", "y_val", "lengths_val", "X_test", "y_test", "lengths_test")
"""The arrays; X and y there must be, and those of the other parts and the lengths may be left out together."""


def read(path: Path) -> Mapping[str, Array]:
    """The arrays of a file by name; nothing in it is executed."""
    if not zipfile.is_zipfile(path):
        raise UserError(f"data.file must be a file of numpy.savez with arrays X and y, got '{path}'")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: np.asarray(arrays[name]) for name in NAMES if name in arrays}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if "Object arrays" in str(error):
            raise UserError(f"data.file must hold arrays of numbers, got one of Python objects in '{path}'") from error
        raise UserError(f"data.file must be a file of numpy.savez, got '{path}': {error}") from error


def _there(lengths: Array, steps: int) -> Array:
    """Which steps are within a sequence's length: bool [N, T]."""
    found: Array = np.arange(steps) < lengths[:, None]
    return found


@dataclass(frozen=True)
class File:
    """Arrays of the user's own, to be checked one by one; what does not fit is a UserError."""

    path: Path | str
    """Where they are from, for messages."""
    arrays: Mapping[str, Array]
    key: str = "data.file"
    """The setting that says so."""

    def has(self, name: str) -> bool:
        """Whether the file holds an array of that name."""
        return name in self.arrays

    def lengths(self, name: str, of: str) -> Array:
        """Steps of each sequence of the array ``of``: int64 [N], from 1 to T."""
        x = self._numbers(of, "[N, T, I]", (3,))
        found = self._counted(name, self._numbers(name, "[N]", (1,)), x)
        if found.dtype.kind not in "ui":
            raise self._wrong(name, "hold whole numbers", found.dtype)
        for value in (int(found.min()), int(found.max())):
            if not 1 <= value <= x.shape[1]:
                raise self._wrong(name, f"lie in [1, {x.shape[1]}], the steps of {of}", value)
        return found.astype(np.int64)

    def features(self, name: str, like: Array | None = None, lengths: Array | None = None) -> Array:
        """Sequences [N, T, I], uint8 or float32; T and I as those of ``like``, zeros behind ``lengths``."""
        x = self._numbers(name, "[N, T, I]", (3,))
        if lengths is not None:
            x = np.where(_there(lengths, x.shape[1])[:, :, None], x, np.zeros((), x.dtype))
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

    def labels(self, name: str, x: Array, like: Array | None = None, lengths: Array | None = None) -> Array:
        """Labels [N] or [N, T] of a classification: all of 0 to C - 1, and none but them in the test part.

        Those of steps behind ``lengths`` are :data:`~rnn_sweep.data.family.IGNORED`.
        """
        y = self._counted(name, self._numbers(name, "[N] or [N, T]", (1, 2)), x)
        if y.dtype.kind == "f":
            raise self._wrong(name, "hold whole numbers as labels; for values set data.task=regression", y.dtype)
        y = y.astype(np.int64)
        if y.ndim == 2 and y.shape[1] != x.shape[1]:
            raise self._wrong(name, f"have a label for each of the {x.shape[1]} steps", list(y.shape))
        there = y
        if lengths is not None and y.ndim == 2:
            mask = _there(lengths, x.shape[1])
            there, y = y[mask], np.where(mask, y, IGNORED)
        if there.min() < 0:
            raise self._wrong(name, "hold labels >= 0", int(there.min()))
        if like is not None:
            if y.ndim != like.ndim:
                raise self._wrong(name, f"have {like.ndim} dimensions as y has", y.ndim)
            if there.max() > like.max():
                raise self._wrong(name, f"hold labels of y, 0 to {like.max()}", int(there.max()))
            return y
        present = np.unique(there)
        if len(present) == 1:
            raise self._wrong(name, "hold labels of at least two classes", f"{present[0]} alone")
        if present[-1] != len(present) - 1:
            missing = int(np.argmax(present != np.arange(len(present))))
            rule = f"hold every label from 0 to C - 1; there are {len(present)} of them, {missing} is missing"
            raise self._wrong(name, rule, f"labels up to {present[-1]}")
        return y

    def _numbers(self, name: str, shape: str, dimensions: tuple[int, ...]) -> Array:
        if name not in self.arrays:
            got = ", ".join(self.arrays) or "none of its names"
            raise UserError(f"{self.key} must hold an array {name} of shape {shape}; got {got} in '{self.path}'")
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
        return UserError(f"{name} of {self.key} must {rule}; got {got} in '{self.path}'")


FAMILY = Npz()
