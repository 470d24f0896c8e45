"""The plugin classes that Hydra finds. Every application imports this module, so it costs milliseconds."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.rnn_sweep_optuna.config import register

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

        self.launcher = Plugins.instance().instantiate_launcher(context, task, config)
        return self.launcher


def _stand_in(package: str) -> type[OptunaSweeper] | None:
    """Make a class under the official sweeper's name, for configurations that name it.

    It lives in modules without files, so that a later installation of the official one meets nothing of ours.

    Returns:
        The class, or None where the official one is installed.
    """
    known = sys.modules.get(package)
    if not getattr(known, "stands_in", False) and importlib.util.find_spec(package) is not None:
        return None
    name = f"{package}.optuna_sweeper"
    official = type("OptunaSweeper", (OptunaSweeper,), {"__module__": name, "__doc__": OptunaSweeper.__doc__})
    for path, content in (
        (package, {"stands_in": True, "__path__": []}),
        (name, {"OptunaSweeper": official}),
    ):
        module = ModuleType(path)
        module.__spec__ = ModuleSpec(path, None)
        vars(module).update(content)
        sys.modules[path] = module
    return official


OfficialOptunaSweeper = _stand_in("hydra_plugins.hydra_optuna_sweeper")
