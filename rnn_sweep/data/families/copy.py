"""Copy memory: ten symbols are to be repeated after a long delay.

Source: Hochreiter and Schmidhuber, Neural Computation 9 (1997); in the form of Arjovsky, Shah and Bengio 2016
(arXiv:1511.06464): ten symbols out of eight, T - 1 blanks, a delimiter, ten blanks; the answer is blank until the last
ten steps, which repeat the symbols. Whoever remembers nothing gets a loss of 10 ln 8 / (T + 20).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from rnn_sweep.config import DataConfig
from rnn_sweep.data.family import Array, Arrays, Option, Options, check_memory, steady, test_count

SYMBOLS, REPEATED = 8, 10
BLANK, DELIMITER = 8, 9
CATEGORIES = 10


@dataclass(frozen=True)
class Copy:
    """Sequences x [N, T + 20, 10] uint8, one-hot; labels [N, T + 20] of 9 classes, as none is the delimiter."""

    name: str = "copy"
    tasks: tuple[str, ...] = ("classification",)
    options: Mapping[str, Option] = field(
        default_factory=lambda: {"length": Option(100, 1, 100_000), "samples": Option(20_000, 2, 10_000_000)}
    )

    def size(self, options: Options) -> int:
        """The setting ``samples``."""
        return int(options["samples"])

    def open(self, config: DataConfig, options: Options) -> Arrays:
        """Draw the sequences: ``split_seed`` decides those of training, nothing those of the test part."""
        samples, delay = options["samples"], options["length"]
        check_memory(f"data.samples={samples} of data.length={delay}", samples * (delay + 2 * REPEATED) * CATEGORIES)
        x, y = draw(samples, delay, steady(config.split_seed))
        x_test, y_test = draw(test_count(samples), delay, steady(0, part=1))
        steps = delay + 2 * REPEATED
        known = {
            "naive/loss": REPEATED * math.log(SYMBOLS) / steps,
            "naive/accuracy": (steps - REPEATED + REPEATED / SYMBOLS) / steps,
        }
        return Arrays(x, y, x_test, y_test, outputs=BLANK + 1, naive=lambda *_: known)


def draw(N: int, delay: int, random: np.random.RandomState) -> tuple[Array, Array]:
    """One-hot sequences [N, delay + 20, 10] and labels [N, delay + 20]."""
    symbols = random.randint(0, SYMBOLS, (N, REPEATED)).astype(np.uint8)
    read = np.full((N, delay + 2 * REPEATED), BLANK, np.uint8)
    said = read.copy()
    read[:, :REPEATED] = said[:, -REPEATED:] = symbols
    read[:, REPEATED + delay - 1] = DELIMITER
    return np.eye(CATEGORIES, dtype=np.uint8)[read], said


FAMILY = Copy()
