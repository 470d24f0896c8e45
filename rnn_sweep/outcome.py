"""What a training run returns: a value, never an exception, for everything but a user's mistake or a bug."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

SCORES = ("accuracy", "r2")
"""What measures a network's answers, more being better: the part of right ones, or R² = 1 - MSE / variance.

A run has one of the two, as ``train/…``, ``val/…`` and ``test/…``.
"""


_MORE = {"acc", "auc", "auroc", "bleu", "dice", "f1", "iou", "map", "precision", "recall", "reward", "second", *SCORES}
_LESS = {"bpc", "cer", "entropy", "error", "fid", "loss", "mae", "mse", "nll", "parameters", "perplexity", "rmse"}
_LESS |= {"seconds", "wer"}
"""Words in the names of metrics of which more, or less, is better; ``…_per_second`` is a speed."""


def direction(metric: str) -> str | None:
    """``maximize`` or ``minimize`` where the name of a metric tells, such as ``val/top1_accuracy``; else None."""
    words = set(re.split(r"[^a-z0-9]+", metric.lower()))
    more, less = bool(words & _MORE), bool(words & _LESS)
    if more == less:
        return None
    return "maximize" if more else "minimize"


def maximized(metric: str) -> bool:
    """Whether more of a metric is better; not where its name does not tell."""
    return direction(metric) == "maximize"


def metric_names(*scores: str) -> list[str]:
    """The metrics that an outcome may have, where its run has one of these :data:`SCORES`."""
    figures = [f"{part}/{figure}" for part in ("train", "val", "test", "naive") for figure in ("loss", *scores)]
    of_epoch, of_run = ["lr", "grad_norm", "images_per_second"], ["parameters", "seconds", "best_epoch"]
    return [*figures, *(f"val/{score}_best" for score in scores), *of_epoch, *of_run]


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
