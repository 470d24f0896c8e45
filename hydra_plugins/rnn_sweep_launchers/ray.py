"""``hydra/launcher=ray``; everything behind it is in :mod:`rnn_sweep.launch.ray`."""

# No `from __future__ import annotations`: Hydra executes plugin modules before they are in sys.modules, and a
# dataclass looks its annotations up there when they are strings.
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hydra.core.config_store import ConfigStore
from hydra.errors import CompactHydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.rnn_sweep_launchers.base import ProcessLauncher
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


class RayLauncher(ProcessLauncher):
    """Jobs in actors of a Ray cluster."""

    def __init__(
        self, n_jobs: int | None, address: str | None, num_cpus: float, num_gpus: float, resources: dict[str, float]
    ) -> None:
        super().__init__(n_jobs)
        self._address, self._needs = address, (num_cpus, num_gpus, resources)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take the app and join the cluster, so that a cluster that is not there ends the program before anything."""
        from rnn_sweep.launch.ray_connect import connect

        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        try:
            self._of_one_job().check()
            connect(self._address)
        except UserError as error:
            raise CompactHydraException(str(error)) from error

    def start(self, n_jobs: int | None) -> "RayPool":
        """Actors, which start with their first job."""
        from rnn_sweep.launch.ray import RayPool

        return RayPool(*self._app, slots=self.room() if n_jobs is None else n_jobs, room=self._of_one_job())

    def room(self) -> int:
        """As many jobs as the cluster has room for."""
        from rnn_sweep.launch.ray import room_for

        return room_for(self._of_one_job())

    def _of_one_job(self) -> "Room":
        from rnn_sweep.launch.ray import Room

        num_cpus, num_gpus, resources = self._needs
        return Room(num_cpus, num_gpus, dict(resources))
