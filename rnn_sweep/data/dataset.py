"""From a data configuration to tensors: check it, open the family's arrays, split them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rnn_sweep.data import baselines
from rnn_sweep.data.checking import check, check_batch, held_out, streamed
from rnn_sweep.errors import UserError

# torch is imported where tensors are made: `rnn_sweep.data.check` answers without it.
if TYPE_CHECKING:
    from torch import Tensor

    from rnn_sweep.config import DataConfig
    from rnn_sweep.data.family import Array, Arrays
    from rnn_sweep.data.streams import Stream


@dataclass(frozen=True)
class Dataset:
    """One data set of N sequences of T steps with I features, split in three.

    Features are ``x * scale``: images stay one byte a pixel in memory until a batch is made.
    """

    name: str
    x_train: Tensor
    """[N, T, I] uint8 or float32."""
    y_train: Tensor
    """Labels, int64 [N] in [0, outputs), or [N, T] where every step has one; of a regression values, float32 [N, D]."""
    x_val: Tensor
    y_val: Tensor
    x_test: Tensor
    y_test: Tensor
    scale: float
    outputs: int
    """Classes, or values D of a regression."""
    task: str = "classification"
    baseline: Mapping[str, float] = field(default_factory=dict)
    """Metrics of a naive answer on the test part: ``naive/loss``, and ``naive/accuracy`` of a classification."""
    lengths_train: Tensor | None = None
    """Steps that there are of each sequence, int64 [N], where the rest is padding: zeros, labelled ``IGNORED``."""
    lengths_val: Tensor | None = None
    lengths_test: Tensor | None = None
    sha256: str | None = None
    """Of the user's own file, ``data.file``, as it was before it was read; other data are always the same."""
    streams: Mapping[str, Stream] | None = None
    """Where data are read batch by batch: the parts by name. ``x_train`` and the others are their first batches."""

    @property
    def padded(self) -> bool:
        """Whether sequences have lengths of their own."""
        return self.lengths_train is not None

    def count(self, part: str) -> int:
        """Sequences of a part; of streams those of the latest pass."""
        return len(getattr(self, f"x_{part}")) if self.streams is None else self.streams[part].sequences

    def batches(self, size: int) -> int:
        """Batches of an epoch, of ``size`` sequences where they are not made elsewhere."""
        return -(-len(self.x_train) // size) if self.streams is None else len(self.streams["train"])

    @property
    def steps(self) -> int:
        """Length T of a sequence, such as the rows of an image."""
        return int(self.x_train.shape[1])

    @property
    def input_dim(self) -> int:
        """Features I of one step, such as the pixels of a row."""
        return int(self.x_train.shape[2])

    @property
    def per_step(self) -> bool:
        """Whether every step has a label of its own."""
        return self.task == "classification" and self.y_train.ndim == 2

    @property
    def score(self) -> str:
        """Name of the metric that measures answers, more being better: ``accuracy`` or ``r2``."""
        return "r2" if self.task == "regression" else "accuracy"


def load(config: DataConfig) -> Dataset:
    """Open a data set, fetching it on first use, and split its training sequences.

    A permutation seeded by ``split_seed`` gives its first ``val_size`` sequences to validation and the rest to
    training, so that the split depends on nothing else; where time decides, the family has split. ``limit`` then caps
    each part; the capped test part is spaced evenly over the file, whose two halves differ in difficulty for MNIST.
    Sizes that are known beforehand are checked before anything is fetched.

    Raises:
        UserError: what :func:`~rnn_sweep.data.check` refuses, ``val_size`` or ``batch_size`` does not fit the data, or
            the family cannot give its arrays.
    """
    import torch

    family, options = check(config)
    if streamed(config):
        return _of_streams(config, *family.streams(config, options))  # type: ignore[attr-defined]
    digest = sha256(config)
    try:
        arrays = family.open(config, options)
        (x, y, lengths), (x_val, y_val, lengths_val) = _split(config, arrays)
        x_test, y_test, lengths_test = arrays.x_test, arrays.y_test, arrays.lengths_test
        if config.limit is not None and config.limit < len(x_test):
            spaced = np.arange(config.limit) * len(x_test) // config.limit
            x_test, y_test = x_test[spaced], y_test[spaced]
            lengths_test = None if lengths_test is None else lengths_test[spaced]
        _check_varied(config, {"training": y, "validation": y_val, "test": y_test})
        baseline = _baseline(config, arrays, y, x_test, y_test)
    except MemoryError as error:
        raise UserError(f"data.name={config.name} needs more memory than there is; lower its sizes") from error
    features = [torch.from_numpy(part) for part in (x, x_val, x_test)]
    kind = torch.float32 if config.task == "regression" else torch.int64
    targets = [torch.from_numpy(part).to(kind) for part in (y, y_val, y_test)]
    return Dataset(
        name=family.name,
        x_train=features[0],
        y_train=targets[0],
        x_val=features[1],
        y_val=targets[1],
        x_test=features[2],
        y_test=targets[2],
        scale=arrays.scale,
        outputs=arrays.outputs,
        task=config.task,
        baseline=baseline,
        lengths_train=_tensor(lengths),
        lengths_val=_tensor(lengths_val),
        lengths_test=_tensor(lengths_test),
        sha256=digest,
    )


def _of_streams(config: DataConfig, streams: Mapping[str, Stream], outputs: int) -> Dataset:
    (x, y), (x_val, y_val), (x_test, y_test) = (streams[part].first for part in ("train", "val", "test"))
    sizes: dict[str, Any] = {"scale": 1.0, "outputs": outputs, "task": config.task}
    return Dataset(config.name, x, y, x_val, y_val, x_test, y_test, **sizes, streams=streams)


def sha256(config: DataConfig) -> str | None:
    """The SHA-256 of ``data.file`` in hexadecimal; None of a data set without such a file.

    Raises:
        UserError: what :func:`~rnn_sweep.data.check` refuses, or the file cannot be read.
    """
    _, options = check(config)
    if "file" not in options:
        return None
    path = Path(options["file"])
    try:
        state = path.stat()
        return _digest(path, state.st_mtime_ns, state.st_size)
    except OSError as error:
        raise UserError(f"data.file must be a file that can be read, got '{path}': {error.strerror}") from error


@functools.lru_cache(maxsize=8)
def _digest(path: Path, changed: int, size: int) -> str:
    """Of a file in one state: a sweep asks for each of its trials."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


_Part = tuple["Array", "Array", "Array | None"]


def _tensor(array: Array | None) -> Tensor | None:
    import torch

    return None if array is None else torch.from_numpy(array)


def _split(config: DataConfig, arrays: Arrays) -> tuple[_Part, _Part]:
    """Training and validation part, each capped at ``limit``."""
    import torch

    def some(x: Array, y: Array, lengths: Array | None, which: Any) -> _Part:
        return x[which], y[which], None if lengths is None else lengths[which]

    if arrays.validation is not None:
        check_batch(config, len(arrays.x))
        x_val, y_val = arrays.validation
        first = slice(config.limit)
        return some(arrays.x, arrays.y, arrays.lengths, first), some(x_val, y_val, arrays.lengths_val, first)
    count = held_out("data.val_size", config.val_size, len(arrays.x), config.name)
    check_batch(config, len(arrays.x) - count)
    order = torch.randperm(len(arrays.x), generator=torch.Generator().manual_seed(config.split_seed)).numpy()
    val, train = order[:count][: config.limit], order[count:][: config.limit]
    x, y, lengths = arrays.x, arrays.y, arrays.lengths
    return some(x, y, lengths, train), some(x, y, lengths, val)


def _check_varied(config: DataConfig, targets: Mapping[str, Array]) -> None:
    """Refuse values that are all the same: R² measures against how much they differ."""
    for part, values in targets.items():
        if config.task == "regression" and not np.ptp(values, axis=0).any():
            rule = "have targets that differ, for R² measures against their variance"
            got = f"{values[0].tolist()} in all {len(values)}"
            sizes = f"data.limit={config.limit!r}, data.val_size={config.val_size!r}"
            raise UserError(f"the {part} part of data.name={config.name} ({sizes}) must {rule}; got {got}")


def _baseline(config: DataConfig, arrays: Arrays, y: Array, x_test: Array, y_test: Array) -> Mapping[str, float]:
    if arrays.naive is not None:
        return arrays.naive(y, x_test, y_test)
    if config.task == "regression":
        return baselines.mean(y, y_test)
    return baselines.frequencies(y, y_test, arrays.outputs)
