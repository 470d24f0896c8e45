"""One job of any Hydra launcher at a time in each of several threads, and what became of it."""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf, read_write

from rnn_sweep.sweep import submitit_jobs

# Raised by packages that may be absent, hence by name: joblib's loky when its shared executor is killed, and
# submitit when a job ended without a result (cancelled, out of memory, killed).
_DEATHS_BY_NAME = frozenset({"ShutdownExecutorError", "UncompletedJobError"})

_Job: TypeAlias = "tuple[Future[JobReturn], Sequence[str], int]"


class WorkerDied(Exception):  # noqa: N818 - what happened, not a mistake
    """The process that ran the job is gone (killed, out of memory, crashed); the message is one line."""


class SlotThreads:
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
        self._launcher = launcher
        self._waiting: SimpleQueue[_Job | None] = SimpleQueue()
        stoppers = {
            "JoblibLauncher": _kill_joblib,
            "LocalLauncher": submitit_jobs.cancel_local,
            "SlurmLauncher": submitit_jobs.cancel_slurm,
        }
        self._kill_workers = next((stop for kind, stop in stoppers.items() if is_a(launcher, kind)), None)
        launchers = [_quiet(sized(launcher, n_jobs)) for _ in range(n_jobs)]
        self._thaw: Callable[[], None] | None = _freeze_singleton_state()
        self._own: list[Launcher] = []
        self._threads: list[threading.Thread] = []
        self._serve_by(launchers)

    def resize(self, n_jobs: int) -> None:
        """See :meth:`rnn_sweep.sweep.pool.Pool.resize`; threads above that wait."""
        self.slots = n_jobs
        for own in self._own:  # joblib's next job finds its workers to be so many
            own.__dict__.update(sized(own, n_jobs).__dict__)
        more = n_jobs - len(self._threads)
        self._serve_by([_quiet(sized(self._launcher, n_jobs)) for _ in range(more)])

    def _serve_by(self, launchers: Sequence[Launcher]) -> None:
        """Start a slot for each launcher."""
        for own in launchers:
            # A daemon: a slot whose job cannot be stopped must not hold up the end of the program.
            name = f"sweep-slot-{len(self._threads)}"
            thread = threading.Thread(target=self._serve, args=(own,), name=name, daemon=True)
            self._own.append(own)
            self._threads.append(thread)
            thread.start()

    def submit(self, overrides: Sequence[str], index: int) -> Future[JobReturn]:
        """See :meth:`rnn_sweep.sweep.pool.Pool.submit`."""
        future: Future[JobReturn] = Future()
        self._waiting.put((future, list(overrides), index))
        return future

    def close(self, kill: bool = False) -> None:
        """See :meth:`rnn_sweep.sweep.pool.Pool.close`."""
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
                cancel(job[0])

    def _serve(self, launcher: Launcher) -> None:
        while (job := self._waiting.get()) is not None:
            future, overrides, index = job
            if future.set_running_or_notify_cancel():
                settle(future, partial(launch_one, launcher, overrides, index))


def launch_one(launcher: Launcher, overrides: Sequence[str], index: int) -> JobReturn:
    """Let a launcher run one job."""
    (job_return,) = launcher.launch([list(overrides)], initial_job_idx=index)
    return job_return


def cancel(future: Future[JobReturn]) -> None:
    """Settle a job that has not begun as cancelled."""
    future.cancel()
    future.set_running_or_notify_cancel()  # wakes those who wait for it, which cancel() does not


def settle(future: Future[JobReturn], job: Callable[[], JobReturn]) -> None:
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


def is_a(launcher: Launcher, name: str) -> bool:
    """By name: joblib's launcher may be absent, and Hydra executes plugin modules anew (new classes)."""
    return any(kind.__name__ == name for kind in type(launcher).__mro__)


def sized(launcher: Launcher, n_jobs: int) -> Launcher:
    """Copy of ``launcher`` with as many workers of its own as jobs in flight, where it has any."""
    own = copy.copy(launcher)
    if is_a(launcher, "JoblibLauncher"):
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
