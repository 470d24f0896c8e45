"""The adding problem: two marked numbers of a long sequence are to be added.

Source: Hochreiter and Schmidhuber, Neural Computation 9 (1997), experiment 4; in the form of Le, Jaitly and Hinton
2015 (arXiv:1504.00941): one mark in each half. Whoever answers the mean gets a mean squared error of 1/6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from rnn_sweep.config import DataConfig
from rnn_sweep.data.family import Array, Arrays, Option, Options, check_memory, steady, test_count


@dataclass(frozen=True)
class Adding:
    """Sequences x [N, T, 2] float32, a number in [0, 1) and a mark at each step; targets [N, 1], the sum of two."""

    name: str = "adding"
    tasks: tuple[str, ...] = ("regression",)
    options: Mapping[str, Option] = field(
        default_factory=lambda: {"length": Option(200, 2, 100_000), "samples": Option(50_000, 2, 10_000_000)}
    )

    def size(self, options: Options) -> int:
        """The setting ``samples``."""
        return int(options["samples"])

    def open(self, config: DataConfig, options: Options) -> Arrays:
        """Draw the sequences: ``split_seed`` decides those of training, nothing those of the test part."""
        samples, length = options["samples"], options["length"]
        check_memory(f"data.samples={samples} of data.length={length}", samples * length * 2 * 4)
        x, y = draw(samples, length, steady(config.split_seed))
        x_test, y_test = draw(test_count(samples), length, steady(0, part=1))
        return Arrays(x, y, x_test, y_test, outputs=1)


def draw(N: int, T: int, random: np.random.RandomState) -> tuple[Array, Array]:
    """Sequences [N, T, 2] and sums [N, 1]."""
    x = np.zeros((N, T, 2), np.float32)
    x[:, :, 0] = random.random_sample((N, T))
    rows, half = np.arange(N), T // 2
    first, second = random.randint(0, half, N), random.randint(half, T, N)
    x[rows, first, 1] = x[rows, second, 1] = 1
    return x, (x[rows, first, 0] + x[rows, second, 0])[:, None]


FAMILY = Adding()
