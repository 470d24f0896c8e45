"""How a search converged: the best so far after each trial, over trials, epochs and the time that trials ran."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnn_sweep.report.replicates import Group, values_of, without_seeds
from rnn_sweep.sweep.confirm import confirmed
from rnn_sweep.sweep.constraints import feasible, required
from rnn_sweep.sweep.counts import count_states, epochs_of
from rnn_sweep.sweep.study import REUSED_ATTR, counted

if TYPE_CHECKING:
    import datetime

    from optuna import Study
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Step:
    """A study after one of its trials had ended."""

    trials: int
    """That had ended."""
    epochs: int
    """That they had trained; those of a reused one cost nothing."""
    seconds: float
    """In which at least one trial had run: pauses between sweeps on the study do not count."""
    best: float | None
    """The best mean over seeds; None before a trial is complete and within the constraints. It falls back where another
    seed of the best configuration is worse."""
    margin: float | None


@dataclass(frozen=True)
class Convergence:
    """One study of one objective."""

    label: str
    objective: str
    maximize: bool
    counts: Mapping[str, int]
    """Trials by state."""
    steps: Sequence[Step]
    best: Group | None
    """The winner: of confirmed configurations the one with the best mean, else the last step's."""

    def at(self, axis: str, limit: float) -> Step | None:
        """The last step whose ``trials``, ``epochs`` or ``seconds`` are within a limit; None before the first."""
        within = [step for step in self.steps if getattr(step, axis) <= limit]
        return within[-1] if within else None


def convergence(study: Study, label: str) -> Convergence:
    """Read a study of one objective.

    Args:
        study: the study.
        label: what it is called beside others.
    """
    trials = study.get_trials(deepcopy=False)
    ended = [t for t in counted(trials) if t.state.is_finished() and t.datetime_complete is not None]
    ended.sort(key=lambda t: (t.datetime_complete, t.number))
    maximize = study.directions[0].name == "MAXIMIZE"
    search = _Search(maximize, required(t for t in ended if t.state.name == "COMPLETE"))
    steps, epochs = [], 0
    for n, (trial, seconds) in enumerate(zip(ended, _busy(trials, ended), strict=True), 1):
        search.add(trial)
        epochs += 0 if REUSED_ATTR in trial.user_attrs else epochs_of(trial)
        best = search.best
        figures = (None, None) if best is None else (best.mean, best.margin)
        steps.append(Step(n, epochs, seconds, *figures))
    sure = confirmed(study)
    winner = search.best
    if sure:
        winner = Group(without_seeds(sure[0].trial.params), [sure[0].trial.number], list(sure[0].values.values()))
    names = study.metric_names
    return Convergence(label, names[0] if names else "value", maximize, count_states(trials), steps, winner)


class _Search:
    """The best configuration of the trials so far."""

    def __init__(self, maximize: bool, constraints: frozenset[str]) -> None:
        self._sign = 1 if maximize else -1
        self._constraints = constraints
        self._found: dict[str, Group] = {}
        self._scores: dict[str, float] = {}
        self._top: str | None = None

    @property
    def best(self) -> Group | None:
        return None if self._top is None else self._found[self._top]

    def add(self, trial: FrozenTrial) -> None:
        if trial.state.name != "COMPLETE" or not feasible(trial, self._constraints):
            return
        params = without_seeds(trial.params)
        key = repr(sorted(params.items()))
        known = self._found.get(key, Group(params, [], []))
        if known.values and REUSED_ATTR in trial.user_attrs:
            return  # the same seed twice says nothing of chance
        found = Group(params, [*known.numbers, trial.number], [*known.values, *values_of(trial)])
        self._found[key], self._scores[key] = found, self._sign * found.mean
        if key == self._top:
            self._top = max(self._scores, key=self._scores.__getitem__)
        elif self._top is None or self._scores[key] > self._scores[self._top]:
            self._top = key


def _busy(trials: Sequence[FrozenTrial], ended: Sequence[FrozenTrial]) -> Iterator[float]:
    """For each ended trial, in their order, the seconds until its end in which any trial ran."""
    spans = sorted(
        (t.datetime_start, t.datetime_complete)
        for t in trials
        if t.datetime_start is not None and t.datetime_complete is not None and REUSED_ATTR not in t.user_attrs
    )
    merged: list[list[datetime.datetime]] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    whole, n = 0.0, 0
    for trial in ended:
        until = trial.datetime_complete
        assert until is not None  # noqa: S101 - they have ended
        while n < len(merged) and merged[n][1] <= until:
            whole += (merged[n][1] - merged[n][0]).total_seconds()
            n += 1
        current = (until - merged[n][0]).total_seconds() if n < len(merged) and merged[n][0] < until else 0.0
        yield whole + current
