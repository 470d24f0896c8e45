"""``hydra/launcher=fused``; everything behind it is in :mod:`rnn_sweep.launch.fused`."""

# No `from __future__ import annotations`: Hydra executes plugin modules before they are in sys.modules, and a
# dataclass looks its annotations up there when they are strings.
import logging
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, configure_log, filter_overrides
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from rnn_sweep.launch.fused import Driver

log = logging.getLogger(__name__)

LANES_PER_CORE = 4
"""Trials in flight for each core, where the program chooses."""


@dataclass
class FusedLauncherConf:
    """Keys of ``hydra.launcher``."""

    _target_: str = "hydra_plugins.rnn_sweep_launchers.fused.FusedLauncher"
    lanes: int | None = None
    """Jobs of a plain grid that are trained at once; null: as many as the machine gains from. A sweeper that has an
    ``n_jobs`` of its own, as ``hydra/sweeper=optuna``, sets the number itself."""


ConfigStore.instance().store(group="hydra/launcher", name="fused", node=FusedLauncherConf, provider="rnn_sweep")


class FusedLauncher(Launcher):
    """Jobs as lanes of batched networks in this process.

    A task function without the hook ``rnn_sweep_fuse`` runs as with Hydra's basic launcher: one job after another,
    in the calling thread.
    """

    slots: int = 0

    def __init__(self, lanes: int | None = None) -> None:
        self.lanes = lanes
        self._driver: Driver | None = None
        self._basic: BasicLauncher | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take the app, as Hydra hands it to every launcher."""
        from rnn_sweep.sweep.compose import cached

        if self.lanes is not None and self.lanes < 1:
            raise CompactHydraException(f"hydra.launcher.lanes: must be at least 1 or null, received {self.lanes}")
        context = HydraContext(config_loader=cached(hydra_context.config_loader), callbacks=hydra_context.callbacks)
        self._context, self._task, self._config = context, task_function, config
        if not hasattr(task_function, "rnn_sweep_fuse"):
            self._basic = BasicLauncher()
            self._basic.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def open(self, n_jobs: int | None) -> None:
        """Get ready for ``n_jobs`` lanes, or for one job at a time where the task function cannot be fused.

        None is 4 jobs in flight for each core: enough to keep it busy while trials come and go, few enough for a
        sampler that learns from those that ended.
        """
        self.close()
        if self._basic is not None:
            log.warning("hydra/launcher=fused: the task function has no hook rnn_sweep_fuse; one job runs at a time")
            self.slots = 1
            return
        self._driver = self._start(n_jobs, streaming=True)
        self.slots = LANES_PER_CORE * self._cores() if n_jobs is None else n_jobs

    def _start(self, lanes: int | None, *, streaming: bool) -> "Driver":
        from rnn_sweep.launch.fused import Driver
        from rnn_sweep.launch.fused_trial import App

        return Driver(App(self._context, self._task, self._config), lanes, self._cores(), streaming=streaming)

    def _cores(self) -> int:
        import torch

        return int(OmegaConf.select(self._config, "trainer.threads") or torch.get_num_threads())

    def submit(self, overrides: Sequence[str], index: int) -> Future[JobReturn]:
        """Let a job join; see :meth:`rnn_sweep.launch.fused.Driver.submit`."""
        if self._basic is not None:
            done: Future[JobReturn] = Future()
            done.set_result(self._basic.launch([list(overrides)], index)[0])
            return done
        if self._driver is None:
            raise RuntimeError("submit() before open()")
        return self._driver.submit(overrides, index)

    def close(self, kill: bool = False) -> None:
        """End after the submitted jobs, or now."""
        if self._driver is not None:
            self._driver.close(kill)
        self._driver, self.slots = None, 0

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs and return their results in order."""
        if self._basic is not None:
            return self._basic.launch([list(each) for each in job_overrides], initial_job_idx)
        from rnn_sweep.launch.fused import gather

        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        Path(str(self._config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        log.info("Launching %d jobs as lanes of batched networks", len(job_overrides))
        for index, overrides in enumerate(job_overrides, start=initial_job_idx):
            log.info("\t#%d : %s", index, " ".join(filter_overrides(overrides)))
        driver = self._start(self.lanes, streaming=False)
        try:
            return gather(driver, job_overrides, initial_job_idx)
        finally:
            driver.close()
