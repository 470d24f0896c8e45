"""``hydra/launcher=fused``: jobs are lanes of batched networks in the sweeper's own process.

One thread, the driver, trains. Jobs of one signature (see :func:`rnn_sweep.training.signature`) form a population;
populations take turns of an epoch each. Between two epochs lanes that are over leave and jobs that wait join, so the
batch stays as full as the jobs allow: continuous batching. A lane gives the same curve as its job would alone.

Beside the driver, one thread opens the records of jobs about to join, and one closes those of jobs that ended.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn

from rnn_sweep.display import Progress
from rnn_sweep.execution import Execution, begin
from rnn_sweep.launch.fused_logs import routed
from rnn_sweep.launch.fused_trial import App, Trial, compose
from rnn_sweep.outcome import Outcome, State

if TYPE_CHECKING:
    from rnn_sweep.training import Entry, Lane, Population

log = logging.getLogger(__name__)

PATIENCE = 0.1
"""Part of an epoch's time that is spent on waiting for jobs that may come, rather than start without them."""
LEAST_WAIT, MOST_WAIT = 0.1, 2.0
"""Bounds of that, in seconds."""
DATASETS = 2
"""Data sets kept in memory beyond those in use."""


class Killed(Exception):  # noqa: N818 - what happened, not a mistake
    """The launcher was told to end at once."""


@dataclass(eq=False)
class _Running:
    trial: Trial
    execution: Execution


@dataclass(eq=False)
class _Group:
    """A population and whose lanes are in it."""

    population: Population
    running: dict[Lane, _Running] = field(default_factory=dict)
    waited: int = 0
    """Epochs of other populations since its own last one."""


class Driver:
    """Trains submitted jobs until closed.

    Args:
        app: the application, whose task function has the hook ``rnn_sweep_fuse``.
        lanes: jobs at once; None leaves the choice to the cost model.
        streaming: whether jobs come one by one, each when another has ended, and not all at the beginning.
    """

    def __init__(self, app: App, lanes: int | None, *, streaming: bool) -> None:
        from rnn_sweep import data

        self._app, self._lanes = app, lanes
        self._load = functools.lru_cache(maxsize=DATASETS)(data.load)
        self._changed = threading.Condition()
        self._hydra = threading.Lock()
        # All below is guarded by _changed, but for the groups, which are the driver's own.
        self._waiting: list[Trial] = []
        self._opening: list[Trial] = []
        self._ready: list[_Running] = []
        self._groups: dict[Hashable, _Group] = {}
        self._streaming, self._more = streaming, True
        self._closed = self._stopping = self._killed = False
        self._vacancies = streaming
        self._epoch_seconds = 0.0
        self._open_one = ThreadPoolExecutor(1, "fused-open")
        self._close_one = ThreadPoolExecutor(1, "fused-close")
        self._thread = threading.Thread(target=self._drive, name="fused-driver", daemon=True)
        self._thread.start()

    def submit(self, overrides: Sequence[str], index: int) -> Future[JobReturn]:
        """Compose a job and let it join its population at the next epoch; ``index`` becomes ``hydra.job.num``.

        The future yields the ``JobReturn``: FAILED for what the job itself raised. It raises what kept the
        configuration from being composed.
        """
        try:
            with self._hydra:  # a job that runs alone is using the process's Hydra state
                trial = compose(self._app, overrides, index)
        except Exception as error:
            failed: Future[JobReturn] = Future()
            failed.set_exception(error)
            return failed
        if not trial.future.done():
            with self._changed:
                self._waiting.append(trial)
                self._changed.notify_all()
        return trial.future

    def submitted(self) -> None:
        """Say that no job is to come for now: what waits need not wait for company."""
        with self._changed:
            self._more = self._streaming
            self._changed.notify_all()

    def stop(self) -> None:
        """End all jobs after the current epoch, as interrupted; drop those that have not begun."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def close(self, kill: bool = False) -> None:
        """Let the submitted jobs finish, or with ``kill`` end them after the current step; returns when all is done."""
        with self._changed:
            self._closed, self._more = True, False
            if kill:
                self._stopping = self._killed = True
            self._changed.notify_all()
        self._thread.join()
        self._open_one.shutdown()
        self._close_one.shutdown()

    # The driver's thread.

    def _drive(self) -> None:
        with routed():
            while self._gather():
                if self._stopping:
                    self._interrupt_all()
                    continue
                alone = self._next_alone()
                if alone is not None:
                    with self._hydra:
                        alone.run_alone()
                if self._groups:
                    self._train(self._next_group())

    def _gather(self) -> bool:
        """Take in who is ready, waiting a little for who is about to be; False when there is no more to do."""
        deadline: float | None = None
        with self._changed:
            while not self._stopping:
                self._open_some()
                going = bool(self._groups or self._ready or self._next_alone(peek=True))
                coming = bool(self._opening) or (self._more and self._vacancies and self._room(1 / 1e9) > 0)
                if going and not coming:
                    break
                if not going and not self._opening and not self._waiting and self._closed:
                    return False
                if not going:
                    self._changed.wait()
                    continue
                wait = min(max(PATIENCE * self._epoch_seconds, LEAST_WAIT), MOST_WAIT)
                deadline = deadline or time.monotonic() + wait
                if self._more and not self._streaming:
                    deadline = time.monotonic() + wait  # the rest of a grid is being composed
                if not self._changed.wait(deadline - time.monotonic()):
                    break
            self._vacancies = self._vacancies and not self._streaming
            ready, self._ready = self._ready, []
            if self._stopping and self._closed and not (ready or self._groups or self._opening or self._waiting):
                return False
        for running in ready:
            self._join(running)
        return True
