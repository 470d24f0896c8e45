"""A plain run's mistakes, refused before Hydra makes its output folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from rnn_sweep import files
from rnn_sweep.run.job import Application, Place, named, prepared
from rnn_sweep.run.settings import composed
from rnn_sweep.run.signals import one_message

_started: Application | None = None
"""The application that reads the command line now."""


@contextmanager
def started(application: Application) -> Iterator[None]:
    """Let the application that starts within the context be checked."""
    global _started
    before, _started = _started, application
    try:
        yield
    finally:
        _started = before


class Precheck(Callback):
    """Prepares the run as it will be, and ends the program with one message where that fails.

    Of an application without functions that check its configuration nothing is known before.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called with the composed configuration."""
        application = _started
        if application is None or (application.hooks.parse is None and application.hooks.check is None):
            return
        hooks, run_dir = application.hooks, str(config.hydra.run.dir)
        with one_message():
            if hooks.resume is not None and named(hooks, composed(config, hooks).config) is None:
                files.check_unused("hydra.run.dir", run_dir, f"{hooks.resume}={run_dir} goes on with it")
            prepared(application, config, Place(Path(run_dir), list(config.hydra.overrides.task)))
            files.check("hydra.run.dir", run_dir)  # where Hydra would end with a traceback
