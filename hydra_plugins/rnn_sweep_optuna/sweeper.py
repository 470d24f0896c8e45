"""The plugin classes that Hydra finds. Every application imports this module, so it costs milliseconds."""

from __future__ import annotations

from typing import Any

from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.rnn_sweep_optuna.config import register
from rnn_sweep.sweep.official import stand_in

register()


class OptunaSweeper(Sweeper):
    """Searches with Optuna and never waits for a batch: ``hydra/sweeper=optuna``."""

    def __init__(self, **node: Any) -> None:
        """Take whatever is below ``hydra.sweeper``; it is read and checked when the sweep begins."""
        self.launcher: Launcher | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands over; the launcher is made when the sweep has been checked."""
        self._config, self._context, self._task = config, hydra_context, task_function

    def sweep(self, arguments: list[str]) -> None:
        """Run the sweep; ends the program with one message for a user's mistake."""
        from rnn_sweep.report.write import write
        from rnn_sweep.sweep.sweeper import main

        main(self._config, self._context, self._task, arguments, self._make_launcher, write)

    def _make_launcher(self, config: DictConfig, context: HydraContext, task: TaskFunction) -> Launcher:
        from hydra.core.plugins import Plugins

        from rnn_sweep.isolation import isolated

        self.launcher = Plugins.instance().instantiate_launcher(context, isolated(task, drawn=True), config)
        return self.launcher


OfficialOptunaSweeper = stand_in(OptunaSweeper)
