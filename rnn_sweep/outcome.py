"""What a training run returns: a value, never an exception, for everything but a user's mistake or a bug."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

SCORES = ("accuracy", "r2")
"""What measures a network's answers, more being better: the part of right ones, or R² = 1 - MSE / variance.

A run has one of the two, as ``train/…``, ``val/…`` and ``test/…``.
"""


def maximized(metric: str) -> bool:
    """Whether more of a metric is better; less is, of losses, parameters and seconds."""
    return metric.rpartition("/")[2] in (*SCORES, "images_per_second")


class State(str, Enum):
    """How a run ended."""

    COMPLETE = "complete"
    """All epochs done, or stopped early by ``trainer.patience``."""
    PRUNED = "pruned"
    """The study told it to stop."""
    DIVERGED = "diverged"
    """The loss became NaN or infinite; the metrics are the last finite ones."""
    INTERRUPTED = "interrupted"
    """Ctrl-C or SIGTERM."""


@dataclass(frozen=True)
class Outcome:
    """The result of one run.

    ``float(outcome)`` is the first objective value, so any Hydra sweeper accepts an ``Outcome`` as a job's result.
    A run without a value (nothing finite was ever measured) converts to NaN.
    """

    state: State
    values: tuple[float, ...]
    """Objective values, in the order of the objectives asked for; empty when nothing finite was measured."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Metrics by name at the best epoch (``val/accuracy`` in [0, 1]), and those of the finished run."""
    history: Sequence[Mapping[str, float]] = ()
    """Metrics of each finished epoch, in order."""
    run_id: str | None = None
    """MLflow run, when tracking is on."""
    epochs: int = 0
    """Epochs finished."""
    seconds: float = 0.0
    """Wall time of training and validation, in seconds."""
    images_per_second: float = 0.0
    """Training images per second of training time, validation excluded."""
    cause: str | None = None
    """Why it ended other than complete, in one line."""

    def __float__(self) -> float:
        return float(self.values[0]) if self.values else math.nan
