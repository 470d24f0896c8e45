"""Who may join next: jobs from their submission until a core takes them in."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rnn_sweep.config import Config
from rnn_sweep.execution import Execution, Job
from rnn_sweep.launch.fused_trial import Trial

log = logging.getLogger(__name__)

LANES_PER_CORE = 8
LEAST_LANES = 4
"""Lanes at once, where the program chooses: more do not train faster, fewer leave a core idle."""
UNITS_PER_THREAD = 1024
"""Hidden units, over all lanes, beyond which a core gains nothing from another lane (``lanes.network``)."""

PATIENCE = 0.1
"""Part of an epoch's time that may be spent on waiting for a job rather than starting the next epoch without it."""
LEAST_WAIT, MOST_WAIT = 0.1, 2.0
"""Bounds of that, in seconds."""


@dataclass(eq=False)
class Running:
    """A job whose data and record are open."""

    trial: Trial
    execution: Execution


def capacity(config: Config, cores: int) -> int:
    """How many lanes like this one are worth training at once on ``cores`` threads."""
    return max(LEAST_LANES, cores * min(LANES_PER_CORE, UNITS_PER_THREAD // config.model.hidden_dim))


class Admission:
    """Waiting room of the cores; every method may be called from any thread.

    Args:
        lanes: jobs at once; None leaves that to :func:`capacity`.
        cores: threads that train.
        open_job: opens a job's data and record; called in a thread of its own.
        idle: whether a population waits for a core.
        streaming: whether another job tends to be submitted when one has ended.
    """

    def __init__(
        self,
        lanes: int | None,
        cores: int,
        open_job: Callable[[Job], Execution],
        idle: Callable[[], bool],
        *,
        streaming: bool,
    ) -> None:
        self._lanes, self._cores, self._open_job, self._idle = lanes, cores, open_job, idle
        self._streaming = streaming
        self._changed = threading.Condition()
        self._waiting: list[Trial] = []
        self._alone: list[Trial] = []
        self._opening: list[Trial] = []
        self._ready: list[Running] = []
        self._active: list[Trial] = []
        self._vacancy = streaming
        self._held = self._closed = False
        self.stopping = False
        """Set by :meth:`stop`."""
        self._opener = ThreadPoolExecutor(1, "fused-open")

    def put(self, trial: Trial) -> None:
        """Let a job wait for its place."""
        with self._changed:
            (self._alone if trial.job is None else self._waiting).append(trial)
            self._open_some()
            self._changed.notify_all()

    def hold(self, held: bool) -> None:
        """While held, more jobs are being submitted: the first epoch waits for company, as far as there is room."""
        with self._changed:
            self._held = held
            self._changed.notify_all()

    def close(self) -> None:
        """Say that no more jobs come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Cancel the jobs that wait, and let :meth:`take` return at once."""
        with self._changed:
            self.stopping = True
            for trial in self._waiting + self._alone:
                trial.future.cancel()
                trial.future.set_running_or_notify_cancel()  # wakes those who wait for it
            self._waiting, self._alone = [], []
            self._changed.notify_all()

    def abandon(self, error: Exception) -> None:
        """End every job with ``error``; no core takes another one."""
        with self._changed:
            self.stopping = True
            trials = self._waiting + self._alone + self._present()
            self._waiting, self._alone, self._ready, self._active = [], [], [], []
            self._changed.notify_all()
        for trial in trials:
            if not trial.future.done():
                trial.end(error)

    def left(self, trial: Trial) -> None:
        """Say that a job is no longer trained."""
        with self._changed:
            if trial in self._active:
                self._active.remove(trial)
            self._vacancy = self._streaming
            self._open_some()
            self._changed.notify_all()

    def turned(self) -> None:
        """Say that a population may have become idle: a core that waits in :meth:`take` can have it."""
        with self._changed:
            self._changed.notify_all()

    def take(self, epoch_seconds: float) -> tuple[list[Running], Trial | None] | None:
        """Wait until there is something to do; for jobs that are about to be ready, a little.

        Args:
            epoch_seconds: what the caller's latest epoch took.

        Returns:
            Those who join now, and a job to run alone; None when all is done.
        """
        patience = min(max(PATIENCE * epoch_seconds, LEAST_WAIT), MOST_WAIT)
        deadline: float | None = None
        with self._changed:
            while self._should_wait():
                left = None
                if self._should_hurry():
                    deadline = deadline or time.monotonic() + patience
                    left = max(0.0, deadline - time.monotonic())
                if not self._changed.wait(left):
                    break
            if self._all_done():
                self._opener.shutdown(wait=False)
                self._changed.notify_all()
                return None
            self._vacancy = False
            ready, self._ready = self._ready, []
            self._active += [running.trial for running in ready]
            return ready, self._alone.pop(0) if self._alone else None

    def _should_wait(self) -> bool:
        if self._all_done():
            return False
        if not (self._idle() or self._ready or self._alone):
            return True
        if self.stopping:
            return False
        return bool(self._opening) or ((self._vacancy or self._held) and self._room())

    def _should_hurry(self) -> bool:
        """Whether someone could be trained or run meanwhile."""
        if self._held and self._room():
            return False
        return self._idle() or (bool(self._ready or self._alone) and not self._opening)

    def _all_done(self) -> bool:
        ended = self._closed or self.stopping
        return ended and not (self._active or self._ready or self._opening or self._waiting or self._alone)

    def _present(self) -> list[Trial]:
        return self._active + self._opening + [running.trial for running in self._ready]

    def _room(self, trial: Trial | None = None) -> bool:
        """Whether ``trial`` may join, or anyone at all."""
        present = self._present()
        needed = 0.0 if trial is None else self._share(trial)
        return not present or sum(map(self._share, present)) + needed < 1 + (1e-9 if trial else -1e-9)

    def _share(self, trial: Trial) -> float:
        """Part of the room that a job takes."""
        if self._lanes is not None or trial.job is None:
            return 1 / (self._lanes or 1)
        return 1 / capacity(trial.job.config, self._cores)

    def _open_some(self) -> None:
        """Open jobs while there is room: first those that fit a population, then those that are many, then the oldest.

        Call it with the lock held.
        """
        while fitting := [trial for trial in self._waiting if self._room(trial)]:
            populations = {trial.signature for trial in self._present()}
            many: Counter[Hashable] = Counter(trial.signature for trial in self._waiting)
            chosen = max(fitting, key=lambda trial: (trial.signature in populations, many[trial.signature]))
            self._waiting.remove(chosen)
            if chosen.future.set_running_or_notify_cancel():
                self._opening.append(chosen)
                self._opener.submit(self._open, chosen)

    def _open(self, trial: Trial) -> None:
        assert trial.job is not None  # noqa: S101 - see put()
        running: Running | None = None
        try:
            with trial.log.open():
                running = Running(trial, self._open_job(trial.job))
        except Exception as error:  # of this job alone
            trial.end(error)
        with self._changed:
            self._opening.remove(trial)
            if running is not None:
                self._ready.append(running)
            self._open_some()
            self._changed.notify_all()
