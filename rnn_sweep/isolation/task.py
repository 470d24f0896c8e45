"""The wrapper around a task function."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from hydra.types import TaskFunction
from omegaconf import DictConfig

from rnn_sweep import terminal
from rnn_sweep.isolation import logs, packages, process
from rnn_sweep.isolation.kinds import Restore, Take
from rnn_sweep.tracking import leftovers as mlflow

log = logging.getLogger(__name__)

_KINDS: Mapping[str, Take] = {
    # First what is done by means of the rest: MLflow's runs are closed in the job's own folder and environment.
    "MLflow's state": mlflow.take,
    "processes": process.processes,
    "settings": packages.settings,
    "random states": packages.generators,
    "figures": packages.figures,
    "loggers": logs.loggers,
    "signal handlers": process.signals,
    "start method": process.start_method,
    "standard streams": process.streams,
    "environment": process.environment,
    "working folder": process.folder,
}
"""What is kept of a process, by its name, in the order in which it is put back."""

_ALWAYS_TOLD = frozenset({"MLflow's state", "processes"})
"""The job was mistaken, or the next ones may be disturbed. The rest is told once in a process, in the same words."""

_told: set[str] = set()


class Isolated:
    """A task function after which the process is as it was before, whatever its job does and however it ends.

    It has the attributes of the task function, hooks included.
    """

    def __init__(self, task: TaskFunction, *, drawn: bool) -> None:
        functools.update_wrapper(self, task)
        self._task, self._drawn = task, drawn

    def __call__(self, cfg: DictConfig) -> Any:
        """Run a job."""
        with terminal.only_warnings() if self._drawn else nullcontext():
            return self._run(cfg)

    def _run(self, cfg: DictConfig) -> Any:
        kept = [(name, take()) for name, take in _KINDS.items()]
        failed = True
        try:
            value = self._task(cfg)
            failed = False
            return value
        finally:
            _put_back(kept, failed)


def isolated(task: TaskFunction, *, drawn: bool = False) -> TaskFunction:
    """``task``, whose jobs leave the process as they have found it.

    Args:
        task: of the application.
        drawn: the sweep has live bars for its jobs in the terminal, which then log no more than warnings there.
    """
    return task if isinstance(task, Isolated) else Isolated(task, drawn=drawn)


def _put_back(kept: Sequence[tuple[str, Restore]], failed: bool) -> None:
    for name, restore in kept:
        try:
            found = restore(failed)
        except Exception as error:  # whatever the job has done to it; its own result stands
            log.warning("the job has left behind: %s, not put back (%s: %s)", name, type(error).__name__, error)
            continue
        if found and name in _ALWAYS_TOLD:
            log.warning("the job has left behind: %s", found)
        elif found and found not in _told:
            _told.add(found)
            log.info("the job has left behind: %s; put back for the next one, as after each job", found)
