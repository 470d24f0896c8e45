"""What the rest of the project sees of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rnn_sweep.outcome import State

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rnn_sweep.models import RecurrentNetwork


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
        """The command that opens the UI, or the run's address on a server; None when tracking is off."""

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Record the metrics of one epoch. An epoch that a resumed run has already is not recorded twice."""

    def add(self, metrics: Mapping[str, float], tags: Mapping[str, str], files: Sequence[Path]) -> None:
        """Record results of a sweep, the latest of which hold; pictures go to the folder ``pictures``."""

    def finish(
        self,
        state: State,
        metrics: Mapping[str, float],
        history: Sequence[Mapping[str, float]],
        model: RecurrentNetwork | None,
        example: NDArray[np.float32] | None,
        files: Sequence[Path],
    ) -> None:
        """Close the run with its results: FINISHED, or KILLED when ``state`` is interrupted; tag ``state``.

        Args:
            state: how training ended.
            metrics: final metrics; those that were recorded each epoch keep their curves as they are.
            history: metrics of each epoch, for the picture; none, no picture.
            model: the network with its best weights; None records no model.
            example: float32 [1, T, I], needed with ``model``.
            files: recorded as they are, under their own names.
        """

    def fail(self, error: BaseException, traceback_text: str) -> None:
        """Close the run as FAILED, with the traceback attached."""

    def kill(self) -> None:
        """Close the run as KILLED."""


class NullRun:
    """The run of ``tracking.enabled=false``: records nothing."""

    run_id: str | None = None
    ui_hint: str | None = None

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Do nothing."""

    def add(self, metrics: Mapping[str, float], tags: Mapping[str, str], files: Sequence[Path]) -> None:
        """Do nothing."""

    def finish(
        self,
        state: State,
        metrics: Mapping[str, float],
        history: Sequence[Mapping[str, float]],
        model: RecurrentNetwork | None,
        example: NDArray[np.float32] | None,
        files: Sequence[Path],
    ) -> None:
        """Do nothing."""

    def fail(self, error: BaseException, traceback_text: str) -> None:
        """Do nothing."""

    def kill(self) -> None:
        """Do nothing."""
