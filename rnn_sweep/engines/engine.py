"""The seam between training and the arithmetic: what an engine does with one network, an epoch at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Weights = dict[str, Tensor]
"""Parameters on the CPU, named as in the ``state_dict`` of :class:`~rnn_sweep.models.RecurrentNetwork`."""

Part = Literal["val", "test"]
"""A part of the data set that is measured, never trained on."""

Tick = Callable[[int], None]
"""Called every few tenths of a second with the optimiser steps since the last call. What it raises ends the epoch."""


class StepSettings(NamedTuple):
    """What a schedule moves, for each optimiser step of one epoch."""

    lr: NDArray[np.float64]
    """Learning rates [S]."""
    momentum: NDArray[np.float64] | None
    """β₁ of the Adam family, else ``momentum`` [S], where the schedule cycles it; None leaves the optimiser's own."""


class EpochStats(NamedTuple):
    """One epoch of training, as means."""

    loss: float
    """Per sequence; NaN or infinite where the run has diverged, and the epoch was not finished."""
    score: float
    """Accuracy of the predictions that were made while training, or R² of a regression."""
    grad_norm: float
    """2-norm of the whole gradient before clipping, in the mean over the steps."""


class Measured(NamedTuple):
    """Loss and score (accuracy, or R² of a regression) on a part of the data."""

    loss: float
    score: float
    more: Mapping[str, float] = MappingProxyType({})
    """The setting ``metrics``, by name."""


class Engine(Protocol):
    """Trains one network on one data set. Not thread-safe; different engines may be used by different threads.

    The results depend on the configuration alone: not on ``threads``, nor on who trains beside it.
    """

    identity: str
    """Name, version and precision, such as ``native 1 fp32``: a checkpoint goes on only with the same."""

    threads: Callable[[], int]
    """Asked at every tick how many threads may be used, the calling one included."""

    def train_epoch(self, order: Tensor, settings: StepSettings, tick: Tick) -> EpochStats:
        """Train on every sequence once.

        Args:
            order: int64 [N], a permutation of the training sequences; batches are cut from it, the last may be small.
            settings: for each of the ceil(N / batch size) steps.
            tick: see :data:`Tick`.
        """

    def evaluate(self, part: Part) -> Measured:
        """Measure the current weights, without dropout."""

    def weights(self) -> Weights:
        """Copies of the current parameters."""

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Set the parameters; the optimiser's state stays as it is.

        Raises:
            ValueError: names or shapes differ from those of the model.
        """

    def state(self) -> dict[str, Any]:
        """What going on exactly takes beside the weights: optimiser, dropout. Tensors and plain values only."""

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state`."""
