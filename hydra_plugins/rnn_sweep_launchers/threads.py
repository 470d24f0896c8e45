"""``hydra/launcher=threads``; everything behind it is in :mod:`rnn_sweep.launch.threads`."""

# No `from __future__ import annotations`: Hydra executes plugin modules before they are in sys.modules, and a
# dataclass looks its annotations up there when they are strings.
import logging
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.errors import CompactHydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.rnn_sweep_launchers.base import PoolLauncher

if TYPE_CHECKING:
    from rnn_sweep.launch.threads import Driver

log = logging.getLogger(__name__)


@dataclass
class ThreadsLauncherConf:
    """Keys of ``hydra.launcher``."""

    _target_: str = "hydra_plugins.rnn_sweep_launchers.threads.ThreadsLauncher"
    n_jobs: int | None = None
    """Jobs of a plain grid in flight at once; null: two more than cores. A sweeper that has an ``n_jobs`` of its
    own, as ``hydra/sweeper=optuna``, sets the number itself."""
    lanes: Any = None
    """The former name of ``n_jobs``."""


for _name in ("threads", "fused"):  # the latter is its former name
    ConfigStore.instance().store(group="hydra/launcher", name=_name, node=ThreadsLauncherConf, provider="rnn_sweep")


class ThreadsLauncher(PoolLauncher):
    """Worker threads in this process, each of which trains one job at a time.

    A task function without the hook ``rnn_sweep_thread`` runs as with Hydra's basic launcher: one job after another,
    in the calling thread.
    """

    def __init__(self, n_jobs: int | None = None, lanes: Any = None) -> None:
        super().__init__(n_jobs)
        self._lanes = lanes
        self._basic: BasicLauncher | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take the app, as Hydra hands it to every launcher."""
        from rnn_sweep.isolation import isolated
        from rnn_sweep.launch.threads_job import App
        from rnn_sweep.sweep.config_cache import cached

        if self._lanes is not None:
            raise CompactHydraException(f"hydra.launcher.lanes is now hydra.launcher.n_jobs, received {self._lanes}")
        if self.n_jobs is not None and self.n_jobs < 1:
            raise CompactHydraException(f"hydra.launcher.n_jobs: must be at least 1 or null, received {self.n_jobs}")
        if config.hydra.runtime.choices.get("hydra/launcher") == "fused":
            log.warning("hydra/launcher=fused is now called hydra/launcher=threads")
        context = replace(hydra_context, config_loader=cached(hydra_context.config_loader))
        task_function = isolated(task_function)
        self._app = App(context, task_function, config)
        if not hasattr(task_function, "rnn_sweep_thread"):
            self._basic = BasicLauncher()
            self._basic.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def start(self, n_jobs: int | None) -> "Driver | _OneAtATime":
        """Threads for ``n_jobs`` jobs, null as in a grid; one job at a time where the task function has no hook."""
        if self._basic is not None:
            log.warning("hydra/launcher=threads: without the hook rnn_sweep_thread in the task, one job runs at a time")
            return _OneAtATime(self._basic)
        from rnn_sweep.launch.threads import start

        return start(self._app, n_jobs)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs and return their results in order."""
        if self._basic is not None:
            return self._basic.launch([list(each) for each in job_overrides], initial_job_idx)
        return self.launch_numbered(job_overrides, range(initial_job_idx, initial_job_idx + len(job_overrides)))

    def launch_numbered(self, job_overrides: Sequence[Sequence[str]], numbers: Sequence[int]) -> Sequence[JobReturn]:
        """The same under numbers that need not follow one another."""
        if self._basic is not None:
            each = zip(job_overrides, numbers, strict=True)
            return [ran for job, number in each for ran in self._basic.launch([list(job)], number)]
        from rnn_sweep.launch.threads import run

        return run(self._app, self.n_jobs, job_overrides, numbers)


class _OneAtATime:
    """Jobs in the calling thread."""

    slots = 1

    def __init__(self, basic: BasicLauncher) -> None:
        self._basic = basic

    def submit(self, overrides: Sequence[str], index: int) -> Future[JobReturn]:
        done: Future[JobReturn] = Future()
        done.set_result(self._basic.launch([list(overrides)], index)[0])
        return done

    def resize(self, n_jobs: int) -> None:
        pass

    def close(self, kill: bool = False) -> None:
        pass
