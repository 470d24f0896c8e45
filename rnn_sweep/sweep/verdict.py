"""What a job's return means for its trial. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from rnn_sweep.outcome import Outcome, State
from rnn_sweep.sweep.pool import WorkerDied


class End(str, Enum):
    """How a trial ends in the study."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    FAIL = "fail"


@dataclass(frozen=True)
class Verdict:
    """The end of one trial."""

    end: End
    values: tuple[float, ...] = ()
    kind: str | None = None
    """Of a failure: one of :data:`rnn_sweep.sweep.settings.CAUSES`."""
    cause: str | None = None
    """In one line."""
    error: BaseException | None = None
    run_id: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


def judge(future: Future[JobReturn], objectives: int) -> Verdict:
    """Read a finished job."""
    try:
        job = future.result()
    except WorkerDied as death:
        return Verdict(End.FAIL, kind="worker_died", cause=str(death) or "its worker process died", error=death)
    except (KeyboardInterrupt, CancelledError):
        return Verdict(End.FAIL, kind="interrupted", cause="interrupted")
    except Exception as error:
        return failed(error)
    if job.status is not JobStatus.COMPLETED:
        return failed(job._return_value)
    return read_value(job.return_value, objectives)


def failed(error: BaseException) -> Verdict:
    """A job that raised."""
    text = " ".join(str(error).split())[:300]
    name = type(error).__name__
    return Verdict(End.FAIL, kind="exception", cause=f"{name}: {text}" if text else name, error=error)


def read_value(value: Any, objectives: int) -> Verdict:
    """A job that returned: an :class:`~rnn_sweep.outcome.Outcome`, or a number for each objective."""
    if not isinstance(value, Outcome):
        return _complete(value, objectives, Verdict(End.COMPLETE))
    base = Verdict(End.PRUNED, cause=value.cause, run_id=value.run_id, metrics=dict(value.metrics))
    if value.state is State.COMPLETE:
        return _complete(value.values, objectives, replace(base, cause=None))
    if value.state is State.INTERRUPTED:
        return replace(base, end=End.FAIL, kind="interrupted", cause=value.cause or "interrupted")
    if value.state is State.DIVERGED:
        return replace(base, cause=value.cause or "diverged")
    return base


def _complete(value: Any, objectives: int, base: Verdict) -> Verdict:
    try:
        many = isinstance(value, Sequence) and not isinstance(value, str)
        values = tuple(float(v) for v in value) if many else (float(value),)
    except (TypeError, ValueError):
        return _no_value(base, f"the job must return a number for each objective, got {value!r:.100}")
    if len(values) != objectives:
        return _no_value(base, f"the job must return {objectives} value(s), got {len(values)}")
    if any(math.isnan(v) for v in values):
        return _no_value(base, f"the job returned NaN: {value!r:.100}")
    return replace(base, end=End.COMPLETE, values=values)


def _no_value(base: Verdict, cause: str) -> Verdict:
    return replace(base, end=End.FAIL, kind="no_value", cause=cause)
