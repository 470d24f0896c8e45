"""``hydra/launcher=processes``: one isolated, reused worker process per slot.

Each slot is a loky executor of exactly one worker. A worker that is killed therefore takes only its own job
along, and its slot gets a new worker with the next job; in an executor of several, every job in flight would
fail with it.

What a worker is like:

- It starts with its first job and lives as long as the pool, so imports are paid once per slot.
- It has ``cores // slots`` threads (at least 1) for OpenMP, BLAS and so on, set before anything is imported.
  A variable that the user has set stays as it is.
- Where there are several GPUs it sees one of them, in turn: those of ``CUDA_VISIBLE_DEVICES``, or all.
- A job finds the process as the job before it did, see :mod:`rnn_sweep.isolation`. Standard output and
  standard error are the sweep's, so the lines of several workers mix, as with Hydra's joblib launcher; every
  job's log file is its own.
- It does not react to Ctrl-C, which a terminal sends to the whole process group: the sweep decides whether
  jobs finish (``close()``) or are stopped (``close(kill=True)``: SIGTERM, and SIGKILL five seconds later).
- It ends when the sweep's process is gone, and five seconds after its last job at the latest: threads and processes
  that a job has left running are named, and end with it.
- It is killed when its job has announced a deadline (:func:`rnn_sweep.watchdog.announced`) and hangs.
"""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import sys
import tempfile
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import Empty, LifoQueue

import cloudpickle  # type: ignore[import-untyped]
import loky  # type: ignore[import-untyped]
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, configure_log, filter_overrides
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from rnn_sweep import watchdog
from rnn_sweep.errors import UserError
from rnn_sweep.isolation import isolated
from rnn_sweep.launch import gpus, worker

log = logging.getLogger(__name__)

OVERDUE_SECONDS = 30.0
"""For how long a job may outlive the deadline that it announced: it then ends by itself, unless it hangs."""
_LOOK_SECONDS = 1.0
"""Between two looks at the deadline of a running job."""

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def cores() -> int:
    """CPU cores this process may use; affinity masks and container limits count."""
    return int(loky.cpu_count())


class ProcessPool:
    """``slots`` worker processes that run jobs of one Hydra app.

    Raises:
        UserError: ``slots`` is below 1, or the task function cannot be sent to another process.
    """

    def __init__(self, context: HydraContext, task: TaskFunction, config: DictConfig, slots: int) -> None:
        if slots < 1:
            raise UserError(f"hydra.launcher.n_jobs: must be at least 1 worker process, received {slots}")
        setup = packed_setup(context, task, config, "processes")
        self._marks = marks = Path(tempfile.mkdtemp(prefix="rnn-sweep-"))
        # A launcher that nobody closes goes with its last reference, as its workers do.
        self._forget_marks = weakref.finalize(self, shutil.rmtree, marks, ignore_errors=True)
        (marks / "setup").write_bytes(setup)
        self._workers: list[_Worker] = []
        # Last in, first out: a sweep with fewer jobs than slots starts no more workers than it needs.
        self._idle: LifoQueue[_Worker] = LifoQueue()
        self._executors: list[ThreadPoolExecutor] = []
        """The latest has a thread for each slot; those before it finish what they were given."""
        self._unfinished: set[Future[JobReturn]] = set()
        self._busy, self._counting = 0, threading.Lock()
        self.resize(slots)

    def resize(self, slots: int) -> None:
        """Have ``slots`` jobs in flight from now on. Workers above that end: idle ones now, the others after their job.

        Who submits more jobs than slots before that has as many as before in flight until they are done.
        """
        self.slots = slots
        if len(self._workers) < slots:
            self._executors.append(ThreadPoolExecutor(slots, thread_name_prefix="worker-process"))
        cores_each = str(max(1, cores() // slots))
        environment = {name: cores_each for name in _THREAD_VARIABLES if name not in os.environ}
        for slot in range(len(self._workers), slots):
            own = {**environment, **gpus.assigned(slot)}
            self._workers.append(_Worker(self._marks / "setup", own, self._marks / str(slot)))
            self._idle.put(self._workers[-1])
        self._end_idle(self._idle.qsize() + self._busy - slots)

    def _end_idle(self, most: int) -> None:
        """End the processes of up to ``most`` workers that wait for a job; a job that comes starts another process."""
        idle: list[_Worker] = []
        with suppress(Empty):
            while len(idle) < most:
                idle.append(self._idle.get_nowait())
        for each in reversed(idle):
            each.stop(kill=False)
            self._idle.put(each)

    def submit(self, overrides: Sequence[str], index: int) -> Future[JobReturn]:
        """Run a job as soon as a worker is free; ``index`` becomes ``hydra.job.num``.

        The future yields the ``JobReturn`` (FAILED when the task raised, called ``sys.exit`` or returned
        what cannot be pickled), or raises ``concurrent.futures.BrokenExecutor`` when the worker died,
        :class:`rnn_sweep.watchdog.Overdue` when it hung and was killed, or what kept the task from starting, such as a
        config that does not compose.
        """
        future = self._executors[-1].submit(self._run, list(overrides), index)
        self._unfinished.add(future)
        future.add_done_callback(self._unfinished.discard)
        return future

    def close(self, kill: bool = False) -> None:
        """Let the jobs finish and end the workers; with ``kill`` drop waiting jobs and stop running ones."""
        if kill:
            for executor in self._executors:
                executor.shutdown(wait=False, cancel_futures=True)
            for each in self._workers:
                each.terminate()
            wait(set(self._unfinished), timeout=worker.GRACE_SECONDS)
        for executor in self._executors:
            executor.shutdown(wait=not kill)
        with ThreadPoolExecutor(len(self._workers)) as stopping:
            for each in self._workers:
                stopping.submit(each.stop, kill)
        self._forget_marks()

    def _run(self, overrides: list[str], index: int) -> JobReturn:
        own = self._idle.get()
        with self._counting:
            self._busy += 1
        try:
            return own.run(overrides, index)
        finally:
            with self._counting:
                self._busy -= 1
                surplus = self._busy >= self.slots
            if surplus:
                own.stop(kill=False)
            self._idle.put(own)


class _Worker:
    """One slot's process, started when first needed and again after it died.

    Args:
        setup: file for :func:`rnn_sweep.launch.worker.begin`.
        environment: variables of the process.
        mark: a file that is there once the process has begun the job that it was given last.
    """

    def __init__(self, setup: Path, environment: dict[str, str], mark: Path) -> None:
        self._setup = setup
        self._mark = mark
        self._ending = False
        self._environment = environment
        self._executor: loky.ProcessPoolExecutor | None = None

    def run(self, overrides: list[str], index: int) -> JobReturn:
        self._mark.unlink(missing_ok=True)
        try:
            return self._await(self._submit(overrides, index))
        except BrokenExecutor:
            self.stop(kill=True)
            if self._ending or self._mark.exists():
                raise
        # The process was dying when it was given the job, and has not begun it: the job gets a new one.
        try:
            return self._await(self._submit(overrides, index))
        except BrokenExecutor:
            self.stop(kill=True)
            raise

    def _await(self, answer: Future[bytes]) -> JobReturn:
        while not wait([answer], _LOOK_SECONDS).done:
            if late := watchdog.missed(self._mark, OVERDUE_SECONDS):
                self.stop(kill=True)
                raise watchdog.Overdue(f"{late}; it hung, and its worker process was killed")
        return worker.unpack(answer.result())

    def _submit(self, overrides: list[str], index: int) -> Future[bytes]:
        if self._executor is not None:
            try:
                processes = self._processes()  # none: the executor has noticed a death, but does not say so yet
                if processes and all(_lives(process) for process in processes):
                    return self._give(self._executor, overrides, index)
            except BrokenExecutor:
                pass
            self.stop(kill=True)  # it died between two jobs: this one gets a new process
        self._executor = loky.ProcessPoolExecutor(
            max_workers=1,
            initializer=worker.start,
            initargs=(os.getpid(),),
            env=self._environment,
        )
        return self._give(self._executor, overrides, index)

    def _give(self, executor: loky.ProcessPoolExecutor, overrides: list[str], index: int) -> Future[bytes]:
        # The setup is a file, and not among the initargs: what is larger than a pipe's buffer is written to a process
        # that is starting, and blocks for ever where that process is killed before it reads. And not with the first job
        # alone: loky replaces a process whose memory has grown, on its own.
        files = (str(self._mark), str(self._setup))
        return executor.submit(worker.begin, overrides, index, *files)  # type: ignore[no-any-return]

    def terminate(self) -> None:
        """Ask the process to end; a task may handle SIGTERM."""
        self._ending = True
        for process in self._processes():
            process.terminate()

    def stop(self, kill: bool) -> None:
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=True, kill_workers=kill)

    def _processes(self) -> list[BaseProcess]:
        executor = self._executor
        return [] if executor is None else list(executor._processes.values())


def _lives(process: BaseProcess) -> bool:
    """Ask the system and leave the exit status to the executor: ``is_alive`` is wrong while both wait for it."""
    if not hasattr(os, "waitid"):  # Windows, macOS
        return bool(process.is_alive())
    try:
        return os.waitid(os.P_PID, process.pid or 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:  # ended, and waited for
        return False


def announce(config: DictConfig, job_overrides: Sequence[Sequence[str]], numbers: Sequence[int], slots: int) -> None:
    """Create the sweep's folder and say which jobs are about to run, as Hydra's own launchers do."""
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    Path(str(config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
    log.info("Launching %d jobs, %d at a time, in worker processes", len(job_overrides), slots)
    for index, overrides in zip(numbers, job_overrides, strict=True):
        log.info("\t#%d : %s", index, " ".join(filter_overrides(overrides)))


def gather(futures: Sequence[Future[JobReturn]], job_overrides: Sequence[Sequence[str]]) -> list[JobReturn]:
    """Results in the order of the jobs; a worker that died or hung is a FAILED job, as an exception of the task is."""
    return [_result(future, each) for future, each in zip(futures, job_overrides, strict=True)]


def _result(future: Future[JobReturn], overrides: Sequence[str]) -> JobReturn:
    try:
        return future.result()
    except (BrokenExecutor, watchdog.Overdue) as error:
        return worker.failed(overrides, error)


def packed_setup(context: HydraContext, task: TaskFunction, config: DictConfig, launcher: str) -> bytes:
    """Everything a worker needs once, by value: the task function is usually defined in ``__main__``.

    Raises:
        UserError: it cannot be pickled; ``launcher`` is named in the message.
    """
    try:
        main = sys.modules.get("__main__")
        program = getattr(main, "__file__", None), getattr(getattr(main, "__spec__", None), "name", None)
        return bytes(cloudpickle.dumps((context, isolated(task), config, Singleton.get_state(), program)))
    except (TypeError, AttributeError, ValueError, pickle.PicklingError) as error:
        raise UserError(
            f"hydra/launcher={launcher} sends the task function to worker processes, so it and the "
            f"globals it uses must be picklable: {error}"
        ) from error
