"""``hydra/launcher=threads``: worker threads of the sweeper's own process train the jobs side by side.

Each thread takes one job from its opened data to its closed record, and trains it an epoch at a time. There are a few
more threads than cores, and only as many epochs are trained at once as there are cores: while one job is opened, writes
its checkpoint or is closed, another has the core. The engines compute without the interpreter lock.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from hydra.core.utils import JobReturn, configure_log, filter_overrides
from omegaconf import OmegaConf

from rnn_sweep import garbage
from rnn_sweep.launch.job_logs import routed
from rnn_sweep.launch.threads_job import App, Trial, compose
from rnn_sweep.launch.turns import Turns
from rnn_sweep.outcome import SCORES, Outcome, State
from rnn_sweep.run import lifecycle
from rnn_sweep.run.job import Job
from rnn_sweep.run.seat import Seat
from rnn_sweep.run.signals import interruptible

if TYPE_CHECKING:
    from rnn_sweep.run.bridge import Run

log = logging.getLogger(__name__)

T = TypeVar("T")

SPARE = 2
"""Jobs that may be opened or closed while all cores train: on two cores short trials took half of the time that they
take without, and few enough are in flight for a sampler that learns from those that ended."""
DATASETS = 4
"""Data sets kept open for jobs to come."""
HEED_SECONDS = 0.5
"""Between two looks for Ctrl-C."""

_SHOWN = tuple(key for score in SCORES for key in (f"val/{score}_best", f"test/{score}"))


class Killed(BaseException):  # not to be caught by a training function
    """The launcher was told to end at once."""


class Driver:
    """Trains submitted jobs until closed.

    Args:
        app: the application, whose task function has the hook ``rnn_sweep_thread``.
        slots: jobs in flight.
        cores: epochs trained at once.
    """

    def __init__(self, app: App, slots: int, cores: int) -> None:
        self._app, self._turns, self._shared = app, Turns(cores), _sharing()
        self._stopping = self._killed = False
        self._hydra = threading.Lock()
        self._waiting: SimpleQueue[Trial | None] = SimpleQueue()
        self._logs = routed()
        self._logs.__enter__()
        self._threads: list[threading.Thread] = []
        self.resize(slots)

    def resize(self, slots: int) -> None:
        """Have ``slots`` jobs in flight from now on; threads above that wait for whoever submits so many again."""
        self.slots = slots
        for n in range(len(self._threads), slots):
            # A daemon: a job that hangs must not hold up the end of the program.
            thread = threading.Thread(target=self._serve, name=f"job-{n}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def submit(self, overrides: Sequence[str], index: int) -> Future[JobReturn]:
        """Compose a job and let the next free thread have it; ``index`` becomes ``hydra.job.num``.

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
            self._waiting.put(trial)
        return trial.future

    def stop(self) -> None:
        """End all jobs after their current epoch, as interrupted; drop those that have not begun."""
        self._stopping = True
        while True:
            try:
                trial = self._waiting.get_nowait()
            except Empty:
                return
            if trial is not None:
                _cancel(trial)

    def close(self, kill: bool = False) -> None:
        """Let the submitted jobs finish, or with ``kill`` end them within a tick; returns when all is done."""
        if kill:
            self._killed = True
            self.stop()
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()
        if self._threads:
            self._logs.__exit__(None, None, None)
        self._threads = []

    def _serve(self) -> None:
        """One thread's work: job after job."""
        from rnn_sweep.training import use_one_thread

        use_one_thread()
        while (trial := self._waiting.get()) is not None:
            if self._stopping:
                _cancel(trial)
            elif trial.future.set_running_or_notify_cancel():
                self._run(trial)

    def _run(self, trial: Trial) -> None:
        if trial.job is None:
            with self._hydra, self._turns.turn():
                trial.run_alone()
            return
        value: Outcome | Exception
        try:
            with trial.log.open():
                value = self._execute(trial.job)
        except Exception as error:  # of this job alone
            value = error
        _say(trial, value)
        trial.end(value)

    def _execute(self, job: Job) -> Outcome:
        """Run a job's function in this thread; a kill is an outcome, too."""
        run: Run | None = None
        try:
            with lifecycle.opened(job, _Seat(self)) as run:
                return lifecycle.carry_out(job, run)
        except Killed:
            return Outcome(State.INTERRUPTED, (), run_id=None if run is None else run.run_id, cause="stopped")


class _Seat(Seat):
    """A run's place beside others: it has a core for an epoch at a time."""

    alone = False

    def __init__(self, driver: Driver) -> None:
        super().__init__(lambda: driver._stopping)
        self._driver, self._turns = driver, driver._turns

    @property
    def cores(self) -> int:  # type: ignore[override]
        """As many as there are for each that trains."""
        return self._turns.threads()

    def take(self) -> bool:
        """Wait for a core."""
        self._turns.begin()
        self.tick(0)
        if self._driver._stopping:
            self._turns.end()
            return False
        return True

    def leave(self) -> None:
        """Give it back."""
        self._turns.end()

    def tick(self, steps: int) -> None:
        """End at once where the launcher was told to."""
        if self._driver._killed:
            raise Killed

    def share(self, make: Callable[..., T], *args: object) -> T:
        """Made once; who asks for what is being made waits for it."""
        return self._driver._shared(make, *args)  # type: ignore[no-any-return]


def _sharing() -> Callable[..., Any]:
    lock = threading.Lock()

    @functools.lru_cache(maxsize=DATASETS)
    def made(make: Callable[..., Any], *args: Any) -> Any:
        return make(*args)

    def share(make: Callable[..., Any], *args: Any) -> Any:
        with lock:
            return made(make, *args)

    return share


def _cancel(trial: Trial) -> None:
    trial.future.cancel()
    trial.future.set_running_or_notify_cancel()  # wakes those who wait for it, which cancel() does not


def _say(trial: Trial, value: Outcome | Exception) -> None:
    """One line on the terminal for each job that ended."""
    if isinstance(value, Exception):
        log.info("#%d failed: %s: %s", trial.index, type(value).__name__, value)
        return
    figures = [f"{name} {value.metrics[name]:.4f}" for name in _SHOWN if name in value.metrics]
    log.info(
        "#%d %s after %d epochs: %s", trial.index, value.state.value, value.epochs, ", ".join(figures) or "no figures"
    )


def start(app: App, n_jobs: int | None) -> Driver:
    """A driver for ``n_jobs`` jobs in flight; None is :data:`SPARE` more than cores."""
    cores = _cores(app)
    return Driver(app, cores + SPARE if n_jobs is None else n_jobs, cores)


def _cores(app: App) -> int:
    import torch

    return int(OmegaConf.select(app.config, "trainer.threads") or torch.get_num_threads())


def run(app: App, n_jobs: int | None, jobs: Sequence[Sequence[str]], numbers: Sequence[int]) -> list[JobReturn]:
    """Run jobs and return their results in order.

    Args:
        app: the application.
        n_jobs: jobs in flight, as for :func:`start`.
        jobs: the overrides of each.
        numbers: of each.

    Raises:
        SystemExit: 128 + the signal's number after SIGINT or SIGTERM: the first lets the epoch end, a second one ends
            it within a tick.
        Exception: what kept a job's configuration from being composed.
    """
    configure_log(app.config.hydra.hydra_logging, app.config.hydra.verbose)
    Path(str(app.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
    driver = start(app, n_jobs)
    log.info("Launching %d jobs, %d at a time, in threads of this process", len(jobs), driver.slots)
    for index, overrides in zip(numbers, jobs, strict=True):
        log.info("\t#%d : %s", index, " ".join(filter_overrides(overrides)))
    garbage.settle()
    with interruptible() as interrupt:
        try:
            futures = [driver.submit(overrides, number) for overrides, number in zip(jobs, numbers, strict=True)]
            pending = set(futures)
            while pending and interrupt.signal is None:
                _, pending = wait(pending, timeout=HEED_SECONDS)
            if interrupt.signal is not None:
                driver.stop()
            driver.close()
        except BaseException:
            driver.close(kill=True)
            raise
    if interrupt.signal is not None:
        raise SystemExit(128 + interrupt.signal)
    return [future.result() for future in futures]
