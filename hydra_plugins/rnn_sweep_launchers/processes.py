"""``hydra/launcher=processes``; everything behind it is in :mod:`rnn_sweep.launch.processes`."""

# No `from __future__ import annotations`: Hydra executes plugin modules before they are in sys.modules, and a
# dataclass looks its annotations up there when they are strings.
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from rnn_sweep.errors import UserError

if TYPE_CHECKING:
    from rnn_sweep.launch.processes import ProcessPool


@dataclass
class ProcessesLauncherConf:
    """Keys of ``hydra.launcher``."""

    _target_: str = "hydra_plugins.rnn_sweep_launchers.processes.ProcessesLauncher"
    n_jobs: int | None = None
    """Worker processes of a plain grid; null: one per core, or per job if those are fewer. A sweeper that
    has an ``n_jobs`` of its own, as ``hydra/sweeper=optuna``, sets the number itself."""


ConfigStore.instance().store(group="hydra/launcher", name="processes", node=ProcessesLauncherConf, provider="rnn_sweep")


class ProcessesLauncher(Launcher):
    """One isolated, reused worker process per slot.

    Workers live from the first job until :meth:`close`, or until the launcher is gone: a sweeper that
    launches batch after batch meets them warm.
    """

    slots: int = 0

    def __init__(self, n_jobs: int | None = None) -> None:
        self.n_jobs = n_jobs
        self._pool: ProcessPool | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take the app, as Hydra hands it to every launcher."""
        self._app = (hydra_context, task_function, config)

    def open(self, n_jobs: int | None) -> None:
        """Get ready for ``n_jobs`` jobs, or one per core. Raises ``UserError`` if the task cannot be pickled."""
        from rnn_sweep.launch.processes import ProcessPool, cores

        self.close()
        self._pool = ProcessPool(*self._app, slots=cores() if n_jobs is None else n_jobs)
        self.slots = self._pool.slots

    def submit(self, overrides: Sequence[str], index: int) -> Future[JobReturn]:
        """Start a job in the next free worker; see :meth:`rnn_sweep.launch.processes.ProcessPool.submit`."""
        if self._pool is None:
            raise RuntimeError("submit() before open()")
        return self._pool.submit(overrides, index)

    def close(self, kill: bool = False) -> None:
        """End the workers after their jobs, or now."""
        if self._pool is not None:
            self._pool.close(kill)
        self._pool, self.slots = None, 0

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs and return their results in order."""
        from rnn_sweep.launch.processes import announce, cores, gather

        try:
            if self._pool is None:
                self.open(min(cores(), len(job_overrides)) if self.n_jobs is None else self.n_jobs)
        except UserError as error:
            raise CompactHydraException(str(error)) from error
        announce(self._app[2], job_overrides, initial_job_idx, self.slots)
        futures = [self.submit(each, initial_job_idx + n) for n, each in enumerate(job_overrides)]
        try:
            return gather(futures, job_overrides)
        except BaseException:  # Ctrl-C, or a config that does not compose: the rest is not worth waiting for
            self.close(kill=True)
            raise
