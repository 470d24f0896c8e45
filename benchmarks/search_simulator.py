"""A sweep on a simulated clock: the study, sampler and pruner are real, the training is read from a record.

Each worker trains one trial, at the recorded speed of one core. The trials of a sweep are asked for, reported and told
in the order in which their epochs end on that clock, so that a sampler knows as little of what is running as it would.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from search_record import Record, Sweep

from rnn_sweep.storage import quiet
from rnn_sweep.sweep.samplers import build_sampler
from rnn_sweep.trial import build_pruner

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.samplers import BaseSampler


@dataclass(frozen=True)
class Clock:
    """How the simulated sweep runs, and when it is over."""

    workers: int
    start_seconds: float
    """What a trial costs beside its epochs."""
    epochs: int
    """Trained in all, pruned trials included: the sweep is over when both this and ``seconds`` are used up."""
    seconds: float
    ask_seconds: float = 0.0
    """What the sampler computes for a trial; one trial is asked for at a time."""
    batches: bool = False
    """Whether the next trials are asked for when all of the last ones have ended, as the official sweeper does."""


@dataclass(frozen=True)
class Point:
    """The sweep right after a trial has completed."""

    seconds: float
    epochs: int
    """Trained so far, those of running trials included."""
    best: float
    """Validation score of the best complete trial."""
    test: float
    """Its test score."""


@dataclass
class Result:
    """A whole simulated sweep."""

    points: list[Point] = field(default_factory=list)
    trials: int = 0
    pruned: int = 0
    pruned_early: int = 0
    """Within two epochs."""
    epochs: int = 0
    seconds: float = 0.0


@dataclass
class Running:
    """A trial in flight."""

    trial: Trial
    scores: np.ndarray
    test: float
    epoch_seconds: float
    done: int = 0


class Simulation:
    """One simulated sweep.

    Args:
        sweep: what the configuration asks for; its sampler has a seed.
        record: whose runs are its trials.
        clock: how it runs.
        seed: of the recorded runs.
        sampler: another one than that of the configuration.
    """

    def __init__(
        self, sweep: Sweep, record: Record, clock: Clock, seed: int, sampler: BaseSampler | None = None
    ) -> None:
        self.sweep, self.record, self.clock, self.seed = sweep, record, clock, seed
        self.speed = record.epoch_seconds()
        self.study = _study(sweep)
        if sampler is not None:
            self.study.sampler = sampler
        self.result = Result()
        self.idle = clock.workers
        self.asked = 0.0
        """When the sampler was done with its latest trial."""
        self.events: list[tuple[float, int, Running]] = []
        self._order = 0

    def run(self) -> Result:
        """Simulate it to its end."""
        now = 0.0
        while True:
            self._start(now)
            if not self.events:
                return self.result
            now, _, running = heapq.heappop(self.events)
            self.result.seconds = now
            self._epoch_ended(now, running)

    def _over(self, now: float) -> bool:
        return self.result.epochs >= self.clock.epochs and now >= self.clock.seconds

    def _start(self, now: float) -> None:
        """Give the idle workers their next trials."""
        if self._over(now):
            self.events.clear()  # what runs is beyond the budget
            return
        if self.clock.batches and self.idle < self.clock.workers:
            return
        for _ in range(self.idle):
            running = self._ask()
            self.asked = max(now, self.asked) + self.clock.ask_seconds
            self._schedule(self.asked + self.clock.start_seconds + running.epoch_seconds, running)
        self.idle = 0

    def _ask(self) -> Running:
        with quiet():
            trial = self.study.ask()
            self.sweep.suggester.overrides(trial)
        index = self.record.index(trial.params)
        where = (self.seed, *index)
        self.result.trials += 1
        return Running(trial, self.record.score[where], float(self.record.test[where]), float(self.speed[index]))

    def _schedule(self, when: float, running: Running) -> None:
        self._order += 1
        heapq.heappush(self.events, (when, self._order, running))

    def _epoch_ended(self, now: float, running: Running) -> None:
        trial, score = running.trial, float(running.scores[running.done])
        running.done += 1
        self.result.epochs += 1
        with quiet():
            trial.report(score, running.done)
            pruned = trial.should_prune()
        if not pruned and running.done < len(running.scores):
            self._schedule(now + running.epoch_seconds, running)
            return
        self.idle += 1
        self._tell(now, running, pruned)

    def _tell(self, now: float, running: Running, pruned: bool) -> None:
        from optuna.trial import TrialState

        with quiet():
            if pruned:
                self.study.tell(running.trial, state=TrialState.PRUNED)
                self.result.pruned += 1
                self.result.pruned_early += running.done <= 2
                return
            value = float(running.scores.max())  # of the epoch whose weights a run keeps
            self.study.tell(running.trial, value)
        last = self.result.points[-1] if self.result.points else Point(0.0, 0, -1.0, 0.0)
        best = (value, running.test) if value > last.best else (last.best, last.test)
        self.result.points.append(Point(now, self.result.epochs, *best))


def _study(sweep: Sweep) -> Study:
    import optuna

    settings = sweep.settings
    with quiet():
        sampler = build_sampler(settings.sampler, sweep.suggester, 1, 0, "judge")
        study = optuna.create_study(direction="maximize", sampler=sampler, pruner=build_pruner(settings.pruner))
        for point in sweep.points:
            study.enqueue_trial(dict(point))
    return study
