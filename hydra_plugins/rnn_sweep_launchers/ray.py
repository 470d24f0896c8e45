"""``hydra/launcher=ray``; everything behind it is in :mod:`rnn_sweep.launch.ray`."""

# No `from __future__ import annotations`: Hydra executes plugin modules before they are in sys.modules, and a
# dataclass looks its annotations up there when they are strings.
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from rnn_sweep.errors import UserError

if TYPE_CHECKING:
    from rnn_sweep.launch.ray import RayPool, Room


@dataclass
class RayLauncherConf:
    """Keys of ``hydra.launcher``."""

    _target_: str = "hydra_plugins.rnn_sweep_launchers.ray.RayLauncher"
    n_jobs: int | None = None
    """Jobs in flight of a plain grid; null: as many as the cluster has room for. A sweeper that has an ``n_jobs`` of
    its own, as ``hydra/sweeper=optuna``, sets the number itself."""
    address: str | None = None
    """``host:port`` of a cluster, ``auto`` for the one that this machine is part of; null: ``$RAY_ADDRESS``, or a
    cluster of this machine alone that ends with the sweep."""
    num_cpus: float = 1.0
    """Of one job."""
    num_gpus: float = 0.0
    """Of one job; 0.25 puts four jobs on each GPU."""
    resources: dict[str, float] = field(default_factory=dict)
    """Ray's custom resources of one job."""


ConfigStore.instance().store(group="hydra/launcher", name="ray", node=RayLauncherConf, provider="rnn_sweep")


class RayLauncher(Launcher):
    """Jobs in actors of a Ray cluster."""

    slots: int = 0

    def __init__(
        self, n_jobs: int | None, address: str | None, num_cpus: float, num_gpus: float, resources: dict[str, float]
    ) -> None:
        self._n_jobs, self._address = n_jobs, address
        self._needs = (num_cpus, num_gpus, resources)
        self._pool: RayPool | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take the app and join the cluster, so that a cluster that is not there ends the program before anything."""
        from rnn_sweep.launch.cluster import connect

        self._app = (hydra_context, task_function, config)
        try:
            self._room().check()
            connect(self._address)
        except UserError as error:
            raise CompactHydraException(str(error)) from error

    def _room(self) -> "Room":
        from rnn_sweep.launch.ray import Room

        num_cpus, num_gpus, resources = self._needs
        return Room(num_cpus, num_gpus, dict(resources))

    def open(self, n_jobs: int | None) -> None:
        """Get ready for ``n_jobs`` jobs, or those there is room for; ``UserError`` if the task cannot be pickled."""
        from rnn_sweep.launch.ray import RayPool, room_for

        self.close()
        self.slots = room_for(self._room()) if n_jobs is None else n_jobs
        self._pool = RayPool(*self._app, slots=self.slots, room=self._room())

    def submit(self, overrides: Sequence[str], index: int) -> Future[JobReturn]:
        """Start a job in the next free actor; see :meth:`rnn_sweep.launch.ray.RayPool.submit`."""
        if self._pool is None:
            raise RuntimeError("submit() before open()")
        return self._pool.submit(overrides, index)

    def close(self, kill: bool = False) -> None:
        """End the actors after their jobs, or now."""
        if self._pool is not None:
            self._pool.close(kill)
        self._pool, self.slots = None, 0

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs and return their results in order."""
        from rnn_sweep.launch.processes import announce, gather
        from rnn_sweep.launch.ray import room_for

        try:
            if self._pool is None:
                self.open(self._n_jobs or min(len(job_overrides), room_for(self._room())))
        except UserError as error:
            raise CompactHydraException(str(error)) from error
        announce(self._app[2], job_overrides, initial_job_idx, self.slots)
        futures = [self.submit(each, initial_job_idx + n) for n, each in enumerate(job_overrides)]
        try:
            return gather(futures, job_overrides)
        except BaseException:  # Ctrl-C, or a config that does not compose: the rest is not worth waiting for
            self.close(kill=True)
            raise
