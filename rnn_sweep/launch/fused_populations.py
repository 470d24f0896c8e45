"""The populations of a sweep and who trains them: each core drives one population at a time, epoch by epoch."""

from __future__ import annotations

import threading
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

    signature: Hashable
    population: Population
    running: dict[Lane, Running] = field(default_factory=dict)
    joining: list[Running] = field(default_factory=list)
    """Who becomes a lane when the current epoch has ended."""
    busy: bool = False
    """Whether a core is training it."""
    waited: int = 1
    """Turns of others since its latest, and one."""

    @property
    def size(self) -> int:
        return len(self.running) + len(self.joining)

    @property
    def full(self) -> bool:
        return self.size >= self.population.most_lanes


class Populations:
    """All populations. Its methods may be called from any thread.

    Args:
        ended: told about each job that is over: its outcome, or what it raised.
        killed: asked after each step; True ends every lane in it with :class:`Killed`.
        cores: threads that call :meth:`take_turn`.
    """

    def __init__(self, ended: Ended, killed: Callable[[], bool], cores: int) -> None:
        self._ended, self._killed, self._cores = ended, killed, cores
        self._groups: list[_Group] = []
        self._lock = threading.RLock()
        self._interrupted = False

    def idle(self) -> bool:
        """Whether there is a population that no core is training."""
        return any(not group.busy for group in self._groups)

    def join(self, running: Running) -> None:
        """Make a job a lane of a population of its signature, at the latest when its current epoch has ended.

        As long as there are fewer populations than cores, it gets one of its own. A job that fails at that is over.
        """
        from rnn_sweep.training import Population, choose_device

        with self._lock:
            signature = running.trial.signature
            open_ = [group for group in self._groups if group.signature == signature and not group.full]
            if open_ and len(self._groups) >= self._cores:
                group = min(open_, key=lambda each: each.size)
                if group.busy:
                    group.joining.append(running)
                else:
                    self._enter(group, running)
                return
            config = running.execution.job.config
            try:
                device = choose_device(config.trainer)
                group = _Group(signature, Population(config, running.execution.dataset, device, threads=1))
            except Exception as error:  # of this job alone
                self._ended(running, error)
                return
            self._groups.append(group)
            self._enter(group, running)

    def _enter(self, group: _Group, running: Running) -> None:
        try:
            lane = group.population.join(self._entry(running))
        except Exception as error:  # of this job alone
            self._ended(running, error)
        else:
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

            def stop(self) -> bool:
                return entry.observer.stop()

        return replace(entry, observer=Logged())

    def take_turn(self) -> float:
        """Train one idle population for an epoch, if there is one; returns the seconds it took.

        The turn goes to the population with the largest product of lanes and turns waited: each gets turns in
        proportion to its lanes, so that lanes gather in the others meanwhile, and none waits for ever.
        """
        start = time.perf_counter()
        with self._lock:
            idle = [group for group in self._groups if not group.busy]
            if not idle:
                return 0.0
            group = max(idle, key=lambda each: len(each.running) * each.waited)
            for each in self._groups:
                each.waited = 1 if each is group else each.waited + 1
            group.busy = True
        try:
            for lane in group.population.epoch():
                self._leave(group, lane)
        except Exception as error:  # memory ran out, or a bug: of this population alone
            self._fail(group, error)
        with self._lock:
            group.busy = False
            joining, group.joining = group.joining, []
            for running in joining:
                self._enter(group, running)
            if self._interrupted:
                self._interrupt(group)
            self._drop_empty()
            self._balance()
        return time.perf_counter() - start

    def interrupt(self) -> None:
        """End every lane as interrupted, those in training at the end of their epoch."""
        with self._lock:
            self._interrupted = True
            for group in self._groups:
                if not group.busy:
                    self._interrupt(group)
            self._drop_empty()

    def _interrupt(self, group: _Group) -> None:
        for lane in list(group.running):
            lane.end(State.INTERRUPTED, f"interrupted after epoch {lane.epoch}")
            self._leave(group, lane)

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
        group.population = group.population.empty_copy()

    def _drop_empty(self) -> None:
        self._groups = [group for group in self._groups if group.size]

    def _balance(self) -> None:
        """Divide populations while cores would have none, and unite what fits together while there are more than cores.

        Lanes do not notice either: their results do not depend on who is beside them.
        """
        while True:
            idle = [group for group in self._groups if not group.busy]
            free = self._cores - (len(self._groups) - len(idle))
            if idle and len(idle) < free and max(len(group.running) for group in idle) > 1:
                self._divide(max(idle, key=lambda each: len(each.running)))
            elif not (len(self._groups) > self._cores and self._unite(idle)):
                return

    def _divide(self, group: _Group) -> None:
        half = _Group(group.signature, group.population.empty_copy())
        lanes = list(group.running)
        for lane in lanes[len(lanes) // 2 :]:
            half.running[lane] = group.running.pop(lane)
        group.population.move(list(half.running), half.population)
        self._groups.append(half)

    def _unite(self, idle: list[_Group]) -> bool:
        for group in idle:
            for other in idle:
                fits = group.size + other.size <= group.population.most_lanes
                if other is not group and other.signature == group.signature and fits:
                    other.population.move(list(other.running), group.population)
                    group.running |= other.running
                    self._groups.remove(other)
                    return True
        return False
