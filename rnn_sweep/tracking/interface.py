"""The interface of a recorded run to the rest of the project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rnn_sweep.outcome import State

if TYPE_CHECKING:
    import torch

    from rnn_sweep.tracking.views import View


class Run(Protocol):
    """One run being recorded.

    A store that stops working in the middle does not stop the training, nor hold it up: records wait on disk, and
    are delivered when the store answers again, or by ``rnn-sweep sync``.
    """

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run; None when tracking is off, and until a store that does not answer has made one."""

    @property
    def ui_hint(self) -> str | None:
        """What opens the run's page, as :func:`rnn_sweep.tracking.pages.way_in`; None when tracking is off."""

    def log_dataset(self, dataset: Mapping[str, str]) -> None:
        """Record what the run is trained on, by the fields of ``mlflow.entities.Dataset``."""

    def log_view(self, view: View) -> None:
        """Make a view of the runs below this one, a sweep's."""

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Record the metrics of one epoch. An epoch that a resumed run has already is not recorded twice."""

    def log_file(self, path: Path) -> None:
        """Record a file or a folder under its own name."""

    def log_module(self, module: torch.nn.Module, example: object, step: int) -> None:
        """Record any torch module as the run's MLflow model.

        Args:
            module: as it is now.
            example: an input, whose and whose output's shapes are noted; None notes none.
            step: last epoch of the run.
        """

    def add(self, metrics: Mapping[str, float], tags: Mapping[str, str], files: Sequence[Path]) -> None:
        """Record results of a sweep, the latest of which hold; pictures go to the folder ``pictures``."""

    def finish(
        self,
        state: State,
        metrics: Mapping[str, float],
        history: Sequence[Mapping[str, float]],
        files: Sequence[Path],
    ) -> None:
        """Close the run with its results: FINISHED, or KILLED when ``state`` is interrupted; tag ``state``.

        Args:
            state: how training ended.
            metrics: final metrics; those that were recorded each epoch keep their curves as they are.
            history: metrics of each epoch, for the picture; none, no picture.
            files: recorded as they are, under their own names.
        """

    def fail(self, error: BaseException, traceback_text: str) -> None:
        """Close the run as FAILED, with the traceback attached."""

    def kill(self) -> None:
        """Close the run as KILLED."""

    def leave(self) -> None:
        """Record nothing more, and leave the run open: somebody else goes on with it."""


class NullRun:
    """The run of ``tracking.enabled=false``: records nothing."""

    run_id: str | None = None
    ui_hint: str | None = None

    def log_dataset(self, dataset: Mapping[str, str]) -> None:
        """Do nothing."""

    def log_view(self, view: View) -> None:
        """Do nothing."""

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Do nothing."""

    def log_file(self, path: Path) -> None:
        """Do nothing."""

    def log_module(self, module: torch.nn.Module, example: object, step: int) -> None:
        """Do nothing."""

    def add(self, metrics: Mapping[str, float], tags: Mapping[str, str], files: Sequence[Path]) -> None:
        """Do nothing."""

    def finish(
        self,
        state: State,
        metrics: Mapping[str, float],
        history: Sequence[Mapping[str, float]],
        files: Sequence[Path],
    ) -> None:
        """Do nothing."""

    def fail(self, error: BaseException, traceback_text: str) -> None:
        """Do nothing."""

    def kill(self) -> None:
        """Do nothing."""

    def leave(self) -> None:
        """Do nothing."""
