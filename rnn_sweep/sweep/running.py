"""Trials in flight."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rnn_sweep.sweep.replicates import Jobs

if TYPE_CHECKING:
    from optuna import Trial


@dataclass(frozen=True)
class Running:
    """A trial in flight."""

    trial: Trial
    overrides: list[str]
    fingerprint: str | None
    """See :mod:`rnn_sweep.sweep.reuse`."""
    since: float = field(default_factory=time.monotonic)
    runs: bool = True
    """Whether it has jobs, and does not take an outcome that is known or that it waits for."""


InFlight = dict[Future[Jobs | None], Running]
"""A future without jobs is that of a trial whose configuration was run before, or is run by another one now."""


def running_one(trials: InFlight, fingerprint: str) -> Future[Jobs | None] | None:
    """The future of the trial that runs a configuration, if one does."""
    same = (future for future, each in trials.items() if each.runs and each.fingerprint == fingerprint)
    return next(same, None)
