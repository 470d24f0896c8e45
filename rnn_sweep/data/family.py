"""What a data set is to the rest of the package: its settings, and the arrays that they give."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rnn_sweep.errors import UserError

if TYPE_CHECKING:
    from rnn_sweep.config import DataConfig

Array = NDArray[Any]
IGNORED = -100
"""Label of a step that is padding, as torch has it."""

Options = Mapping[str, Any]
"""A family's settings by name: all of them, checked."""


@dataclass(frozen=True)
class Option:
    """One setting of a family, ``data.NAME``. Its type is that of the default; None is a file that must be given."""

    default: int | float | str | None
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[int | str, ...] = ()


@dataclass(frozen=True)
class Arrays:
    """What a family gives: sequences x [N, T, I] uint8 or float32, and targets y as :class:`Dataset` has them.

    Classification has integer targets [N], or [N, T] where every step has a label; regression float32 [N, D].
    """

    x: Array
    """Training sequences, and those that the seeded split puts aside for validation unless ``validation`` is given."""
    y: Array
    x_test: Array
    y_test: Array
    outputs: int
    """Classes C, or values D."""
    scale: float = 1.0
    """Features are x times this."""
    validation: tuple[Array, Array] | None = None
    """Where time decides the split, the family makes it."""
    lengths: Array | None = None
    """Steps that there are of each sequence, int64 [N]; the rest is padding, zeros, whose labels are ignored."""
    lengths_test: Array | None = None
    lengths_val: Array | None = None
    naive: Callable[[Array, Array, Array], Mapping[str, float]] | None = None
    """``naive(y_train, x_test, y_test)``: metrics of a naive answer, where the usual one of the task says too little.

    See :mod:`rnn_sweep.data.baselines`.
    """


class Family(Protocol):
    """One data set, or one kind of them; the module ``families/NAME.py`` has it as ``FAMILY``."""

    @property
    def name(self) -> str:
        """What ``data.name`` takes."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """What ``data.task`` may be."""

    @property
    def options(self) -> Mapping[str, Option]:
        """The settings beside those that all families have."""

    def size(self, options: Options) -> int | None:
        """Training sequences, validation included; None where that shows only on opening."""

    def open(self, config: DataConfig, options: Options) -> Arrays:
        """Fetch, read or make the arrays.

        Raises:
            UserError: they cannot be had, or are not what they must be.
        """


def steady(seed: int, part: int = 0) -> np.random.RandomState:
    """Random numbers that stay the same with every release of numpy, of any seed >= 0; each part has its own."""
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed, part])))


def check_memory(what: str, size: int) -> None:
    """Refuse arrays that no computation would have room beside.

    Raises:
        UserError: ``size`` bytes are more than half of the machine's memory.
    """
    half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    if size > half:
        raise UserError(f"{what} must fit into half of the memory, {half:,} bytes, got {size:,} bytes")


def test_count(samples: int) -> int:
    """Test sequences beside ``samples`` training sequences that are made: a fifth of them, and 10,000 at most."""
    return min(10_000, -(-samples // 5))
