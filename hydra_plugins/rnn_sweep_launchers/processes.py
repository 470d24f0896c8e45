"""``hydra/launcher=processes``; everything behind it is in :mod:`rnn_sweep.launch.processes`."""

# No `from __future__ import annotations`: Hydra executes plugin modules before they are in sys.modules, and a
# dataclass looks its annotations up there when they are strings.
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hydra.core.config_store import ConfigStore

from hydra_plugins.rnn_sweep_launchers.base import ProcessLauncher

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


class ProcessesLauncher(ProcessLauncher):
    """One isolated, reused worker process per slot."""

    def start(self, n_jobs: int | None) -> "ProcessPool":
        """Worker processes, which start with their first job."""
        from rnn_sweep.launch.processes import ProcessPool

        return ProcessPool(*self._app, slots=self.room() if n_jobs is None else n_jobs)

    def room(self) -> int:
        """One job per core."""
        from rnn_sweep.launch.processes import cores

        return cores()
