"""Launchers and pools over ``launch_app``, set up as Hydra does for a multirun."""

from __future__ import annotations

from pathlib import Path

import cloudpickle
from hydra import version
from hydra._internal.callbacks import Callbacks
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode, TaskFunction

from tests.launch import launch_app

HERE = Path(__file__).parent

# Jobs run where this folder cannot be imported from (submitit), as an app's ``__main__`` cannot.
cloudpickle.register_pickle_by_value(launch_app)


def make_launcher(sweep_dir: Path, name: str, *overrides: str, task: TaskFunction = launch_app.task) -> Launcher:
    version.setbase("1.3")
    GlobalHydra.instance().clear()
    hydra = Hydra.create_main_hydra2("launch_app", create_config_search_path(str(HERE / "conf")))
    every = [f"hydra/launcher={name}", f"hydra.sweep.dir={sweep_dir}", *overrides]
    config = hydra.compose_config("config", every, RunMode.MULTIRUN, with_log_configuration=False)
    context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(config))
    return Plugins.instance().instantiate_launcher(context, task, config)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not, once its last thread is gone."""
    process = Path(f"/proc/{pid}")
    try:
        ended = "Z" in (process / "stat").read_text().rpartition(")")[2].split()[0]
        return not ended or len(list((process / "task").iterdir())) > 1
    except (FileNotFoundError, ProcessLookupError):
        return False
