"""Populations that take turns of an epoch each, in the driver's thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rnn_sweep.launch.fused_admission import Running
from rnn_sweep.outcome import Outcome, State

if TYPE_CHECKING:
    from rnn_sweep.training import Entry, Lane, Population

Ended = Callable[[Running, "Outcome | Exception"], None]


class Killed(Exception):  # noqa: N818 - what happened, not a mistake
    """The launcher was told to end at once."""


@dataclass(eq=False)
class _Group:
    """A population, and whose lanes are in it."""

    population: Population
    running: dict[Lane, Running] = field(default_factory=dict)
    waited: int = 1
    """Turns since its latest, that one included."""


class Turns:
    """All populations.

    Args:
        ended: told about each job that is over: its outcome, or what it raised.
        killed: asked after each step; True ends every lane in it with :class:`Killed`.
    """

    def __init__(self, ended: Ended, killed: Callable[[], bool]) -> None:
        self._ended, self._killed = ended, killed
        self._groups: dict[Hashable, _Group] = {}

    def __bool__(self) -> bool:
        """Whether any lane is left."""
        return bool(self._groups)

    def join(self, running: Running) -> None:
        """Make a job a lane of its population; a job that fails at that is over."""
        from rnn_sweep.training import Population, choose_device

        config, signature = running.execution.job.config, running.trial.signature
        try:
            entry = self._entry(running)
            group = self._groups.get(signature)
            if group is None:
                population = Population(config, running.execution.dataset, choose_device(config.trainer))
                group = _Group(population)
            lane = group.population.join(entry)
        except Exception as error:  # of this job alone
            self._ended(running, error)
            return
        self._groups[signature] = group
        group.running[lane] = running
        if lane.over:
            self._leave(group, lane)
            self._drop_empty()

    def _entry(self, running: Running) -> Entry:
        from rnn_sweep.display import Progress
        from rnn_sweep.training import Observer

        execution = running.execution
        progress = Progress(execution.job.config.trainer.epochs, 0, execution.steps_per_epoch, bar=False)
        entry = execution.entry(progress, stop=lambda: False)
        log, killed = running.trial.log, self._killed

        class Logged(Observer):
            def step(self) -> None:
                if killed():
                    raise Killed

            def epoch(self, epoch: int, metrics: dict[str, float]) -> bool:
                with log.open():
                    return entry.observer.epoch(epoch, metrics)

        return replace(entry, observer=Logged())

    def take_one(self) -> float:
        """Let one population train an epoch; returns the seconds it took.

        The turn goes to the population with the largest product of lanes and turns waited: each gets turns in
        proportion to its lanes, so that lanes gather in the others meanwhile, and none waits for ever.
        """
        from rnn_sweep.training import one_thread_per_operation

        start = time.perf_counter()
        group = max(self._groups.values(), key=lambda each: len(each.running) * each.waited)
        for each in self._groups.values():
            each.waited = 1 if each is group else each.waited + 1
        with one_thread_per_operation():
            try:
                over = group.population.epoch()
            except Exception as error:  # memory ran out, or a bug: of this population alone
                self._fail(group, error)
            else:
                for lane in over:
                    self._leave(group, lane)
        self._drop_empty()
        return time.perf_counter() - start

    def interrupt(self) -> None:
        """End every lane as interrupted."""
        for group in self._groups.values():
            for lane in list(group.running):
                lane.end(State.INTERRUPTED, f"interrupted after epoch {lane.epoch}")
                self._leave(group, lane)
        self._groups.clear()

    def _leave(self, group: _Group, lane: Lane) -> None:
        from rnn_sweep.training import conclude

        running = group.running.pop(lane)
        try:
            result: Outcome | Exception = conclude(lane, group.population)
        except Exception as error:  # of this job alone
            result = error
        self._ended(running, result)

    def _fail(self, group: _Group, error: Exception) -> None:
        for running in group.running.values():
            self._ended(running, error)
        group.running.clear()

    def _drop_empty(self) -> None:
        self._groups = {key: group for key, group in self._groups.items() if group.running}
