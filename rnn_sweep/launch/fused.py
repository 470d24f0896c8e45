"""``hydra/launcher=fused``: jobs are lanes of batched networks in the sweeper's own process.

Jobs of one signature (see :func:`rnn_sweep.training.signature`) form populations. Each core drives one population at a
time, for an epoch, with a thread of its own; between two epochs lanes that are over leave and jobs that wait join, so
the batches stay as full as the jobs allow: continuous batching. A lane gives the same curve as its job would alone.

Beside the cores, one thread opens the records of jobs about to join, and one closes those of jobs that ended.
"""

from __future__ import annotations

import functools
import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

from hydra.core.utils import JobReturn

from rnn_sweep.execution import begin
from rnn_sweep.launch.fused_admission import Admission, Running
from rnn_sweep.launch.fused_logs import routed
from rnn_sweep.launch.fused_populations import Killed, Populations
from rnn_sweep.launch.fused_trial import App, Trial, compose
from rnn_sweep.outcome import SCORES, Outcome, State
from rnn_sweep.task import interruptible

log = logging.getLogger(__name__)

DATASETS = 4
"""Data sets kept open for jobs to come."""
SWITCH_SECONDS = 1e-4
"""How long a thread may keep the interpreter lock while another wants it; an operation takes about as long."""
HEED_SECONDS = 0.5
"""Between two looks for Ctrl-C."""

_SHOWN = tuple(key for score in SCORES for key in (f"val/{score}_best", f"test/{score}"))


class Driver:
    """Trains submitted jobs until closed.

    Args:
        app: the application, whose task function has the hook ``rnn_sweep_fuse``.
        lanes: jobs at once; None leaves the choice to the cost model.
        cores: threads that train.
        streaming: whether another job tends to be submitted when one has ended.
    """

    def __init__(self, app: App, lanes: int | None, cores: int, *, streaming: bool) -> None:
        from rnn_sweep import data

        self._app = app
        load = functools.lru_cache(maxsize=DATASETS)(data.load)
        self._killed = False
        self._populations = Populations(self._ended, lambda: self._killed, cores)
        self._admission = Admission(
            lanes, cores, lambda job: begin(job, load, threads=1), self._populations.idle, streaming=streaming
        )
        self._hydra = threading.Lock()
        self._closer = ThreadPoolExecutor(1, "fused-close")
        self._cores = [threading.Thread(target=self._work, name=f"fused-core-{n}", daemon=True) for n in range(cores)]
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
            self._admission.put(trial)
        return trial.future

    def submit_all(self, jobs: Sequence[Sequence[str]], first: int) -> list[Future[JobReturn]]:
        """Submit many jobs at once, numbered from ``first``; none starts before there are enough to fill the lanes."""
        self._admission.hold(True)
        try:
            return [self.submit(overrides, first + n) for n, overrides in enumerate(jobs)]
        finally:
            self._admission.hold(False)

    def stop(self) -> None:
        """End all jobs after the current epoch, as interrupted; drop those that have not begun."""
        self._admission.stop()

    def close(self, kill: bool = False) -> None:
        """Let the submitted jobs finish, or with ``kill`` end them after the current step; returns when all is done."""
        self._admission.close()
        if kill:
            self._killed = True
            self._admission.stop()
        self._thread.join()

    def _drive(self) -> None:
        from rnn_sweep.lanes.precision import fast_products
        from rnn_sweep.training import one_thread_per_operation

        with routed(), _frequent_switches(), one_thread_per_operation(), fast_products():
            for core in self._cores:
                core.start()
            for core in self._cores:
                core.join()
            self._closer.shutdown()  # what is still being closed logs, too

    def _work(self) -> None:
        """One core's work; what nobody expected ends all jobs, because a thread that dies leaves them waiting."""
        from rnn_sweep.training import use_one_thread

        try:
            use_one_thread()
            self._take_and_train()
        except Exception as error:
            self._admission.abandon(error)

    def _take_and_train(self) -> None:
        """Take jobs in, train a population for an epoch, until all is done."""
        seconds = 0.0
        while (work := self._admission.take(seconds)) is not None:
            joining, alone = work
            for running in joining:
                self._populations.join(running)
            if self._admission.stopping:
                self._populations.interrupt()
            self._admission.turned()
            if alone is not None:
                with self._hydra:
                    alone.run_alone()
            seconds = self._populations.take_turn()
            self._admission.turned()

    def _ended(self, running: Running, result: Outcome | Exception) -> None:
        """Called in a core's thread; closing a record takes a tenth of a second, so another thread does it."""
        self._admission.left(running.trial)
        self._closer.submit(self._conclude, running, result)

    def _conclude(self, running: Running, result: Outcome | Exception) -> None:
        trial, execution = running.trial, running.execution
        value: Outcome | Exception = result
        try:
            with trial.log.open():
                if isinstance(result, Killed):
                    execution.record.kill()
                    value = Outcome(State.INTERRUPTED, (), run_id=execution.record.run_id, cause="stopped")
                elif isinstance(result, Exception):
                    execution.fail(result)
                    value = execution.readable(result)
                else:
                    value = execution.finish(result)
        except Exception as error:  # of this job alone
            value = error
            execution.fail(error)
        trial.end(value)
        _say(trial, value)


@contextmanager
def _frequent_switches() -> Iterator[None]:
    """Let threads ask for the interpreter lock more often than every 5 ms.

    Each operation of the driver gives the lock away, and gets it back from a thread at work in Python, such as the one
    that closes records, only then: a trial's end was seen to hold training up for twice as long.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _say(trial: Trial, value: Outcome | Exception) -> None:
    """One line on the terminal for each job that ended."""
    if isinstance(value, Exception):
        log.info("#%d failed: %s: %s", trial.index, type(value).__name__, value)
        return
    figures = [f"{name} {value.metrics[name]:.4f}" for name in _SHOWN if name in value.metrics]
    log.info(
        "#%d %s after %d epochs: %s", trial.index, value.state.value, value.epochs, ", ".join(figures) or "no figures"
    )


def gather(driver: Driver, jobs: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Run jobs and return their results in order.

    Raises:
        SystemExit: 128 + the signal's number after SIGINT or SIGTERM: the first lets the epoch end, a second one the
            step.
        Exception: what kept a job's configuration from being composed.
    """
    with interruptible() as interrupt:
        try:
            futures = driver.submit_all(jobs, first)
            pending = set(futures)
            while pending and interrupt.signal is None:
                _, pending = wait(pending, timeout=HEED_SECONDS)
            if interrupt.signal is None:
                return [future.result() for future in futures]
            driver.stop()
            driver.close()
        except BaseException:
            driver.close(kill=True)
            raise
    raise SystemExit(128 + interrupt.signal)
