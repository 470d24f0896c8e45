"""From a data configuration to tensors: look up the family, check the sizes, open the cache, split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rnn_sweep.data import digits, mnist
from rnn_sweep.data.store import Family, cache_folder, open_family
from rnn_sweep.errors import UserError, near

if TYPE_CHECKING:
    from rnn_sweep.config import DataConfig

FAMILIES: dict[str, Family] = {family.name: family for family in (mnist.FAMILY, digits.FAMILY)}
"""Every data set by the name that ``data.name`` takes."""


@dataclass(frozen=True)
class Dataset:
    """One data set, split in three; an image is a sequence of T rows of I pixels.

    Features are ``x * scale``, in [0, 1]: images stay one byte a pixel in memory until a batch is made.
    """

    name: str
    x_train: Tensor
    """[N, T, I] uint8."""
    y_train: Tensor
    """[N] int64, in [0, classes)."""
    x_val: Tensor
    y_val: Tensor
    x_test: Tensor
    y_test: Tensor
    scale: float
    classes: int

    @property
    def steps(self) -> int:
        """Length T of a sequence: the rows of an image."""
        return int(self.x_train.shape[1])

    @property
    def input_dim(self) -> int:
        """Features I of one step: the pixels of a row."""
        return int(self.x_train.shape[2])


def load(config: DataConfig) -> Dataset:
    """Open a data set, fetching it on first use, and split its training file.

    A permutation seeded by ``split_seed`` gives its first ``val_size`` images to validation and the rest to
    training, so that the split depends on nothing else. ``limit`` then caps each part; the capped test part
    is spaced evenly over the file, whose two halves differ in difficulty for MNIST. Sizes are checked before
    anything is fetched.

    Raises:
        UserError: the name is unknown, ``val_size``, ``limit`` or ``batch_size`` does not fit the data, the
            cache folder cannot be used, a cached file is corrupt, or the data cannot be fetched.
    """
    family = FAMILIES.get(config.name)
    if family is None:
        raise UserError(f"data.name must be a known data set, got {config.name!r}; {near(config.name, FAMILIES)}")
    count = _validation_count(config, family)
    x, y, x_test, y_test = map(torch.from_numpy, open_family(family, cache_folder(config.dir)))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(config.split_seed))
    val, train = order[:count][: config.limit], order[count:][: config.limit]
    if config.limit is not None and config.limit < len(x_test):
        spaced = torch.arange(config.limit) * len(x_test) // config.limit
        x_test, y_test = x_test[spaced], y_test[spaced]
    return Dataset(
        name=family.name,
        x_train=x[train],
        y_train=y[train].long(),
        x_val=x[val],
        y_val=y[val].long(),
        x_test=x_test,
        y_test=y_test.long(),
        scale=family.scale,
        classes=family.classes,
    )


def _validation_count(config: DataConfig, family: Family) -> int:
    """Number of validation images, after checking every size against the family's."""
    total, size = family.train_images.shape[0], config.val_size
    fraction = isinstance(size, float) and not size.is_integer()
    if fraction and not 0 < size < 1:
        raise UserError(f"data.val_size must be a count or a fraction in (0, 1), got {size!r}")
    count = round(total * size) if fraction else int(size)
    if not 1 <= count < total:
        rule = f"must leave images on both sides: at least 1 and fewer than the {total} training images"
        raise UserError(f"data.val_size {rule} of {family.name}, got {size!r}")
    if config.limit is not None and config.limit < 1:
        raise UserError(f"data.limit must be >= 1 or null, got {config.limit!r}")
    train = min(total - count, config.limit or total)
    if not 1 <= config.batch_size <= train:
        raise UserError(
            f"data.batch_size must be >= 1 and at most the {train} training images of {family.name}"
            f" (data.val_size={size!r}, data.limit={config.limit!r}), got {config.batch_size!r}"
        )
    return count
