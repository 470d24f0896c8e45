"""What the three launchers have in common: a pool of workers that a sweeper opens, or a grid for its own jobs."""

# No `from __future__ import annotations`: see the launchers. Abstract classes are none of Hydra's plugins.
from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

from hydra.core.utils import JobReturn
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from rnn_sweep.errors import UserError


class Workers(Protocol):
    """Jobs in flight; :class:`rnn_sweep.sweep.pool.Pool` says what each method does."""

    slots: int

    def submit(self, overrides: Sequence[str], index: int) -> Future[JobReturn]: ...  # noqa: D102

    def resize(self, slots: int, /) -> None: ...  # noqa: D102

    def close(self, kill: bool = False) -> None: ...  # noqa: D102


class PoolLauncher(Launcher):
    """A launcher whose workers live from :meth:`open`, or the first grid, until :meth:`close`.

    A sweeper that launches batch after batch meets them warm.
    """

    slots: int = 0

    def __init__(self, n_jobs: int | None = None) -> None:
        self.n_jobs = n_jobs
        self._workers: Workers | None = None

    @abstractmethod
    def start(self, n_jobs: int | None) -> Workers:
        """Workers for ``n_jobs`` jobs, or for as many as are worth it here.

        Raises:
            UserError: the task function cannot be sent to them.
        """

    def open(self, n_jobs: int | None) -> None:
        """Get ready for ``n_jobs`` jobs; see :meth:`start`."""
        self.close()
        self._workers = self.start(n_jobs)
        self.slots = self._workers.slots

    def submit(self, overrides: Sequence[str], index: int) -> Future[JobReturn]:
        """Start a job with the next free worker; ``index`` becomes ``hydra.job.num``."""
        if self._workers is None:
            raise RuntimeError("submit() before open()")
        return self._workers.submit(overrides, index)

    def resize(self, n_jobs: int) -> None:
        """Have ``n_jobs`` jobs in flight from now on."""
        if self._workers is not None:
            self._workers.resize(n_jobs)
            self.slots = self._workers.slots

    def close(self, kill: bool = False) -> None:
        """End the workers after the submitted jobs, or now."""
        if self._workers is not None:
            self._workers.close(kill)
        self._workers, self.slots = None, 0


class ProcessLauncher(PoolLauncher):
    """One whose jobs run in processes, here or elsewhere."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take the app, as Hydra hands it to every launcher."""
        self._app = (hydra_context, task_function, config)

    @abstractmethod
    def room(self) -> int:
        """How many jobs there is room for at once."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs and return their results in order."""
        return self.launch_numbered(job_overrides, range(initial_job_idx, initial_job_idx + len(job_overrides)))

    def launch_numbered(self, job_overrides: Sequence[Sequence[str]], numbers: Sequence[int]) -> Sequence[JobReturn]:
        """The same under numbers that need not follow one another."""
        from rnn_sweep.launch.processes import announce, gather

        try:
            if self._workers is None:
                self.open(min(self.room(), len(job_overrides)) if self.n_jobs is None else self.n_jobs)
        except UserError as error:
            raise CompactHydraException(str(error)) from error
        announce(self._app[2], job_overrides, numbers, self.slots)
        futures = [self.submit(each, number) for each, number in zip(job_overrides, numbers, strict=True)]
        try:
            return gather(futures, job_overrides)
        except BaseException:  # Ctrl-C, or a config that does not compose: the rest is not worth waiting for
            self.close(kill=True)
            raise
