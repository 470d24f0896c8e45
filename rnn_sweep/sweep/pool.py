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
launcher does in this process before the job leaves it is made safe here, see :class:`SlotThreads`.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import Protocol, runtime_checkable

import loky  # type: ignore[import-untyped]
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher

from rnn_sweep.sweep import submitit_jobs
from rnn_sweep.sweep.slot_threads import SlotThreads, cancel, is_a, launch_one, settle, sized


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

    def resize(self, n_jobs: int) -> None:
        """Have ``n_jobs`` slots from now on, or as many as there can be; sets :attr:`slots`.

        Running jobs are left alone: with fewer slots it is for the caller to submit no more than those.
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


@runtime_checkable
class ResizableLauncher(SubmittingLauncher, Protocol):
    """One that can change its number of slots while jobs run; another keeps those that it was opened with."""

    def resize(self, n_jobs: int) -> None:
        """See :meth:`Pool.resize`."""


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
    if is_a(launcher, "BasicLauncher") or (is_a(launcher, "JoblibLauncher") and n_jobs == 1):
        return _Inline(sized(launcher, 1))
    return SlotThreads(launcher, n_jobs)


def check_launcher(launcher: Launcher) -> None:
    """Check what a launcher from elsewhere would only find out with its first job.

    Raises:
        UserError: what it starts jobs with is not there.
    """
    if is_a(launcher, "SlurmLauncher"):
        submitit_jobs.check_slurm(launcher.__dict__["params"])


class _Native:
    """A launcher that submits by itself; only a worker's death is put into the pool's words."""

    def __init__(self, launcher: SubmittingLauncher, n_jobs: int | None) -> None:
        self._launcher = launcher
        launcher.open(n_jobs)
        self.slots = self._opened = launcher.slots

    def resize(self, n_jobs: int) -> None:
        if isinstance(self._launcher, ResizableLauncher):
            self._launcher.resize(n_jobs)
            self.slots = self._launcher.slots
        else:
            self.slots = min(n_jobs, self._opened)

    def submit(self, overrides: Sequence[str], index: int) -> Future[JobReturn]:
        outer: Future[JobReturn] = Future()
        self._launcher.submit(overrides, index).add_done_callback(partial(self._forward, outer))
        return outer

    def close(self, kill: bool = False) -> None:
        self._launcher.close(kill)

    @staticmethod
    def _forward(outer: Future[JobReturn], inner: Future[JobReturn]) -> None:
        if inner.cancelled():
            cancel(outer)
        elif outer.set_running_or_notify_cancel():
            settle(outer, inner.result)


class _Inline:
    """One slot: the job runs in the calling thread, before ``submit`` returns."""

    slots = 1

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    def submit(self, overrides: Sequence[str], index: int) -> Future[JobReturn]:
        future: Future[JobReturn] = Future()
        settle(future, partial(launch_one, self._launcher, overrides, index))
        return future

    def resize(self, n_jobs: int) -> None:
        """There is one, whatever is asked for."""

    def close(self, kill: bool = False) -> None:
        """Nothing runs between two calls of ``submit``."""
