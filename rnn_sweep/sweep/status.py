"""Status of a study at this moment, read from any machine that reaches its storage."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnn_sweep.sweep import steering, study_metadata
from rnn_sweep.sweep.bars import epochs_of
from rnn_sweep.sweep.counts import count_states, state_of
from rnn_sweep.sweep.heartbeat import PREFIX, machine, process_start
from rnn_sweep.sweep.results import winners
from rnn_sweep.sweep.study import SURPLUS_ATTR

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

_RECENT = 20
"""Ended trials that the rate is taken from."""


@dataclass(frozen=True)
class TrialStatus:
    """One trial."""

    number: int
    state: str
    epoch: int
    """The latest that it has reported; 0 before the first."""
    epochs: int | None
    """How many it is to have, where its job has said so."""
    values: Sequence[float]
    """The objective by epoch."""
    seconds: float | None
    params: Mapping[str, Any]


@dataclass(frozen=True)
class Worker:
    """A sweeper that works on the study, or did until it was killed."""

    id: str
    host: str
    pid: int
    state: str
    """``alive`` or ``dead`` on this machine; elsewhere ``beat N``, which rises while it lives."""


@dataclass(frozen=True)
class Status:
    """The study."""

    name: str
    at: str
    counts: Mapping[str, int]
    """By state of :data:`rnn_sweep.sweep.counts.STATES`."""
    ended: int
    budget: int | None
    best: TrialStatus | None
    """Of one objective."""
    rate: float | None
    """Trials an hour that end, of late."""
    eta: float | None
    """Seconds until the budget is used up, at that rate."""
    workers: Sequence[Worker]
    paused: str | None
    """Who has paused it, and when."""
    trials: Sequence[TrialStatus]
    """Those that run, and the latest others: the newest first."""


def look(study: Study, rows: int) -> Status:
    """Read a study.

    Args:
        study: the study.
        rows: trials to list at most.
    """
    trials, attrs, now = study.get_trials(deepcopy=False), study.user_attrs, datetime.datetime.now()
    counts = count_states(trials)
    ended = sum(n for state, n in counts.items() if state not in ("running", "waiting"))
    most = budget(attrs)
    rate = _rate(trials, now)
    left = None if most is None else max(0, most - ended)
    paused = steering.pause(steering.read(attrs))
    best = winners(study) if len(study.directions) == 1 else []
    running = [t for t in trials if t.state.name == "RUNNING" and SURPLUS_ATTR not in t.user_attrs]
    others = [t for t in reversed(trials) if t.state.is_finished()]
    shown = [*reversed(running), *others][:rows]
    return Status(
        name=study.study_name,
        at=now.isoformat(timespec="seconds"),
        counts=counts,
        ended=ended,
        budget=most,
        best=_trial(best[0], now) if best else None,
        rate=rate,
        eta=3600 * left / rate if rate and left and paused is None else None,
        workers=workers(attrs),
        paused=paused.giver if paused is not None else None,
        trials=[_trial(t, now) for t in shown],
    )


def budget(attrs: Mapping[str, Any]) -> int | None:
    """How many trials a study with these attributes is to have; None where no sweep has noted that."""
    noted = attrs.get(study_metadata.ATTR, {}).get("n_trials")
    return None if noted is None else steering.budget(int(noted), steering.read(attrs))


def _trial(trial: FrozenTrial, now: datetime.datetime) -> TrialStatus:
    values = [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)]
    if trial.values and not values:
        values = list(trial.values)[:1]
    end = trial.datetime_complete or now
    seconds = None if trial.datetime_start is None else (end - trial.datetime_start).total_seconds()
    epoch = max(trial.intermediate_values, default=0)
    return TrialStatus(trial.number, state_of(trial), epoch, epochs_of(trial), values, seconds, dict(trial.params))


def _rate(trials: Sequence[FrozenTrial], now: datetime.datetime) -> float | None:
    """Of the latest trials that ended; up to now where one runs, so that a sweep which hangs slows down."""
    ends = sorted(t.datetime_complete for t in trials if t.datetime_complete is not None)[-_RECENT:]
    if len(ends) < 2:
        return None
    last = now if any(t.state.name == "RUNNING" for t in trials) else ends[-1]
    hours = (last - ends[0]).total_seconds() / 3600
    return (len(ends) - 1) / hours if hours > 0 else None


def workers(attrs: Mapping[str, Any]) -> list[Worker]:
    """The sweepers that a study with these attributes has, but for those that have come to their end."""
    found, here = [], machine()
    for key, entry in attrs.items():
        if not key.startswith(PREFIX) or entry.get("ended"):
            continue
        state = f"beat {entry['beat']}"
        if entry["machine"] == here:
            state = "alive" if process_start(entry["pid"]) == entry["start"] else "dead"
        host = str(entry["machine"]).partition(" ")[0]
        found.append(Worker(key.removeprefix(PREFIX), host, int(entry["pid"]), state))
    return found
