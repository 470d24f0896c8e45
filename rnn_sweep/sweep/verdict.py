"""How a trial and a sweep end: a job's return value as a trial's state. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from hydra.core.utils import JobReturn

from rnn_sweep.outcome import Outcome, State
from rnn_sweep.sweep.slot_threads import WorkerDied


class End(str, Enum):
    """How a trial ends in the study."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    FAIL = "fail"


class Reason(str, Enum):
    """Why the loop ended."""

    DONE = "all trials are done"
    EXHAUSTED = "every point of the space was tried"
    DIED_OUT = "the population has died out: no member is left to copy"
    TIMEOUT = "the time is up"
    INTERRUPTED = "interrupted"
    FAILURES = "too many trials failed"
    MISTAKE = "a setting is wrong"


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
    try:
        value = job.return_value
    except Exception as error:  # the job's own
        return failed(error)
    return read_value(value, objectives)


def failed(error: BaseException) -> Verdict:
    """A job that raised; ``optuna.TrialPruned`` is Optuna's own way to say that it was pruned."""
    from optuna import TrialPruned

    text = " ".join(str(error).split())[:300]
    if isinstance(error, TrialPruned):
        return Verdict(End.PRUNED, cause=text or None)
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
