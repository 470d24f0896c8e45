"""A segment: the part of a run between two epochs that is trained with settings of its own, from a checkpoint.

A run that replays a schedule has several, one after another; a trial of ``hydra/sweeper=pbt`` is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import OmegaConf

from rnn_sweep.errors import UserError

PREFIX = "param/"
"""Of the metrics that say which settings an epoch was trained with."""


class SegmentOver(BaseException):
    """Leaves the training function at the end of a segment that another one follows, with other settings."""


@dataclass(frozen=True)
class Segment:
    """One of them."""

    start: int
    """Epochs that have been trained before."""
    until: int
    """Epoch that it ends after."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Logged with each of its epochs."""
    followed: bool = False
    """Whether the same run goes on with another one."""

    def check(self, total: int) -> None:
        """Check the number of epochs that the training function wants. Raises :class:`UserError`."""
        if total < self.until:
            rule = f"hydra.sweeper.epochs, or the schedule, has a segment until epoch {self.until}"
            raise UserError(f"{rule}, but the training function runs for {total} epochs")


def logged(config: Any, keys: Iterable[str]) -> dict[str, float]:
    """The numbers among the settings ``keys`` of a configuration, as metrics of an epoch."""
    whole = OmegaConf.create(config)
    values = {key: OmegaConf.select(whole, key) for key in keys}
    return {
        f"{PREFIX}{key}": float(value)
        for key, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
