"""Jobs in flight over any Hydra launcher: ``submit(overrides, index) -> Future``, never a batch.

A sweep loop sees slots and futures only. What stands behind a slot depends on the launcher:

- A launcher that has ``submit`` itself opens its own slots for the sweeper's ``n_jobs``.
- Hydra's basic launcher, and joblib at ``n_jobs=1``, are one slot: the job runs in the calling thread.
- Any other launcher (joblib, submitit, …) gets ``n_jobs`` threads, each in ``launcher.launch([overrides],
  index)``.

The sweeper's ``n_jobs`` rules: a launcher's own ``n_jobs`` (joblib's -1 = every CPU, for one) is set to it:
more workers than jobs in flight would idle and take threads away from the busy ones. Null leaves the number to a
launcher that submits by itself, and is one job per CPU core for any other.

Threads are right for launchers that run jobs *elsewhere* (other processes, other hosts). Two jobs never run
as threads of one process: ``HydraConfig``, the working directory and logging are process-wide. What a
launcher does in this process before the job leaves it is made safe here, see :class:`_SlotThreads`.
"""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeAlias, runtime_checkable

import loky  # type: ignore[import-untyped]
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf, read_write

from rnn_sweep.sweep import slurm, submitit_local

# Raised by packages that may be absent, hence by name: joblib's loky when its shared executor is killed, and
# submitit when a job ended without a result (cancelled, out of memory, killed).
_DEATHS_BY_NAME = frozenset({"ShutdownExecutorError", "UncompletedJobError"})

_Job: TypeAlias = "tuple[Future[JobReturn], Sequence[str], int]"


class WorkerDied(Exception):  # noqa: N818 - what happened, not a mistake
    """The process that ran the job is gone (killed, out of memory, crashed); the message is one line."""


class Pool(Protocol):
    """Jobs in flight."""

    slots: int
    """Jobs that run at once, at least 1. More may be submitted: they wait in order."""

    def submit(self, overrides: Sequence[str], index: int) -> Future[JobReturn]:
        """Start one job; ``index`` becomes ``hydra.job.num``.

        The future yields the job's ``JobReturn`` (status FAILED when the task raised), or raises
        :class:`WorkerDied`, or what the launcher raised before the task began (a config that does not
        compose). With an inline pool the future is already done; Ctrl-C during the job is then raised here.
        """

    def close(self, kill: bool = False) -> None:
        """End the pool after the submitted jobs; with ``kill`` drop waiting jobs and end running ones now.

        Jobs of a launcher that this module does not know are left alone by ``kill``; their futures may never be done.
        """


@runtime_checkable
class SubmittingLauncher(Protocol):
    """A Hydra launcher that is a :class:`Pool` by itself, opened with the number of jobs in flight.

    A worker's death is reported through the future as a ``concurrent.futures.BrokenExecutor``; the pool turns
    it into :class:`WorkerDied`.
    """

    slots: int

    def open(self, n_jobs: int | None) -> None:
        """Get ready for ``n_jobs`` jobs at once (None: as many as are worth it here); sets ``slots``."""

    def submit(self, overrides: Sequence[str], index: int) -> Future[JobReturn]:
        """See :meth:`Pool.submit`."""

    def close(self, kill: bool = False) -> None:
        """See :meth:`Pool.close`."""


def open_pool(launcher: Launcher, n_jobs: int | None) -> Pool:
    """Open ``n_jobs`` slots (at least 1, or None) over ``launcher``, which has been set up; see the module.

    Raises:
        ValueError: ``n_jobs`` is below 1.
    """
    if n_jobs is not None and n_jobs < 1:
        raise ValueError(f"n_jobs is the number of jobs in flight and must be at least 1, received {n_jobs}")
    if isinstance(launcher, SubmittingLauncher):
        return _Native(launcher, n_jobs)
    n_jobs = n_jobs or loky.cpu_count()
    if _is(launcher, "BasicLauncher") or (_is(launcher, "JoblibLauncher") and n_jobs == 1):
        return _Inline(_sized(launcher, 1))
    return _SlotThreads(launcher, n_jobs)


def check_launcher(launcher: Launcher) -> None:
    """Check what a launcher from elsewhere would only find out with its first job.

    Raises:
        UserError: what it starts jobs with is not there.
    """
    if _is(launcher, "SlurmLauncher"):
        slurm.check(launcher.__dict__["params"])


class _Native:
    """A launcher that submits by itself; only a worker's death is put into the pool's words."""

    def __init__(self, launcher: SubmittingLauncher, n_jobs: int | None) -> None:
        self._launcher = launcher
        launcher.open(n_jobs)
        self.slots = launcher.slots

    def submit(self, overrides: Sequence[str], index: int) -> Future[JobReturn]:
        outer: Future[JobReturn] = Future()
        self._launcher.submit(overrides, index).add_done_callback(partial(self._forward, outer))
        return outer

    def close(self, kill: bool = False) -> None:
        self._launcher.close(kill)

    @staticmethod
    def _forward(outer: Future[JobReturn], inner: Future[JobReturn]) -> None:
        if inner.cancelled():
            _cancel(outer)
        elif outer.set_running_or_notify_cancel():
            _settle(outer, inner.result)


class _Inline:
    """One slot: the job runs in the calling thread, before ``submit`` returns."""

    slots = 1

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    def submit(self, overrides: Sequence[str], index: int) -> Future[JobReturn]:
        future: Future[JobReturn] = Future()
        _settle(future, partial(_launch_one, self._launcher, overrides, index))
        return future

    def close(self, kill: bool = False) -> None:
        """Nothing runs between two calls of ``submit``."""


class _SlotThreads:
    """Threads that each keep one job of a launcher in flight.

    Launchers read process-wide state when they launch. Copying an OmegaConf config takes its children's
    parents away for a moment (``DictConfig.__deepcopy__``), so two threads that copy the same one can leave
    it without parents for good. Therefore every thread has a launcher of its own with its own config, and
    ``Singleton.get_state`` (a deep copy of every Hydra singleton, taken by each launch) answers with one
    copy made before the threads start. Nor does a slot set logging up again: a record of another thread
    would fall between the old handlers and the new.
    """

    def __init__(self, launcher: Launcher, n_jobs: int) -> None:
        self.slots = n_jobs
        self._waiting: SimpleQueue[_Job | None] = SimpleQueue()
        stoppers = {
            "JoblibLauncher": _kill_joblib,
            "LocalLauncher": submitit_local.cancel,
            "SlurmLauncher": slurm.cancel,
        }
        self._kill_workers = next((stop for kind, stop in stoppers.items() if _is(launcher, kind)), None)
        launchers = [_quiet(_sized(launcher, n_jobs)) for _ in range(n_jobs)]
        self._thaw: Callable[[], None] | None = _freeze_singleton_state()
        self._threads = [
            # Daemons: a slot whose job cannot be stopped must not hold up the end of the program.
            threading.Thread(target=self._serve, args=(own,), name=f"sweep-slot-{slot}", daemon=True)
            for slot, own in enumerate(launchers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, overrides: Sequence[str], index: int) -> Future[JobReturn]:
        future: Future[JobReturn] = Future()
        self._waiting.put((future, list(overrides), index))
        return future

    def close(self, kill: bool = False) -> None:
        if kill:
            self._drop_waiting()
        for _ in self._threads:
            self._waiting.put(None)
        if kill:
            if self._kill_workers is not None:
                self._kill_workers()
        else:
            for thread in self._threads:
                thread.join()
        if self._thaw is not None:
            self._thaw()
            self._thaw = None

    def _drop_waiting(self) -> None:
        while True:
            try:
                job = self._waiting.get_nowait()
            except Empty:
                return
            if job is not None:
                _cancel(job[0])

    def _serve(self, launcher: Launcher) -> None:
        while (job := self._waiting.get()) is not None:
            future, overrides, index = job
            if future.set_running_or_notify_cancel():
                _settle(future, partial(_launch_one, launcher, overrides, index))


def _launch_one(launcher: Launcher, overrides: Sequence[str], index: int) -> JobReturn:
    (job_return,) = launcher.launch([list(overrides)], initial_job_idx=index)
    return job_return


def _cancel(future: Future[JobReturn]) -> None:
    future.cancel()
    future.set_running_or_notify_cancel()  # wakes those who wait for it, which cancel() does not


def _settle(future: Future[JobReturn], job: Callable[[], JobReturn]) -> None:
    """Run ``job`` and put its result, or what became of it, into ``future``; Ctrl-C alone is passed on."""
    try:
        result = job()
    except SystemExit as exit_:
        # run_job lets it through, and one trial must not end the sweep.
        future.set_exception(RuntimeError(f"the job called sys.exit({exit_.code!r})"))
    except Exception as error:
        future.set_exception(_died(error) or error)
    else:
        future.set_result(result)


def _died(error: Exception) -> WorkerDied | None:
    # joblib raises a RuntimeError of its own while it handles loky's ShutdownExecutorError.
    chain = (error, error.__context__)
    if not any(isinstance(e, BrokenExecutor) or type(e).__name__ in _DEATHS_BY_NAME for e in chain):
        return None
    text = str(error).strip() or type(error).__name__
    # loky hides the one fact that matters in a paragraph: "The exit codes of the workers are {SIGKILL(-9)}".
    codes = re.search(r"exit codes of the workers are \{(.+?)\}", text)
    cause = f"the worker process ended with {codes[1]}" if codes else text.splitlines()[0]
    if "SIGKILL" in cause:
        cause += " (killed from outside, often for lack of memory)"
    died = WorkerDied(cause)
    died.__cause__ = error
    return died


def _is(launcher: Launcher, name: str) -> bool:
    """By name: joblib's launcher may be absent, and Hydra executes plugin modules anew (new classes)."""
    return any(kind.__name__ == name for kind in type(launcher).__mro__)


def _sized(launcher: Launcher, n_jobs: int) -> Launcher:
    """Copy of ``launcher`` with as many workers of its own as jobs in flight, where it has any."""
    own = copy.copy(launcher)
    if _is(launcher, "JoblibLauncher"):
        own.__dict__["joblib"] = {**own.__dict__["joblib"], "n_jobs": n_jobs}
    return own


def _quiet(launcher: Launcher) -> Launcher:
    """Give ``launcher`` a config of its own that leaves Hydra's own logging as it is; jobs log as ever."""
    config = launcher.__dict__.get("config")
    if isinstance(config, DictConfig):
        config = copy.deepcopy(config)
        with read_write(config.hydra):
            OmegaConf.update(config, "hydra.hydra_logging", {"version": 1, "root": None}, merge=False)
        launcher.__dict__["config"] = config
    return launcher


def _freeze_singleton_state() -> Callable[[], None]:
    """Make ``Singleton.get_state`` answer with its state of now; returns what undoes it."""
    name = "get_state"
    original = Singleton.__dict__[name]
    state: Any = Singleton.get_state()
    setattr(Singleton, name, staticmethod(lambda: state))
    return lambda: setattr(Singleton, name, original)


def _kill_joblib() -> None:
    from joblib.externals.loky import get_reusable_executor  # type: ignore[import-untyped]

    get_reusable_executor(reuse=True).shutdown(wait=False, kill_workers=True)
