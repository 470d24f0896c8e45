"""``run.epochs`` for a loop that is somebody else's: a function to be called after each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rnn_sweep.errors import UserError

if TYPE_CHECKING:
    from rnn_sweep.run.bridge import Run


class EpochCallback:
    """Called after each epoch with its metrics: records them, saves what is kept, and says whether to go on.

    ::

        callback = EpochCallback(run, cfg.epochs)
        for epoch in range(callback.done, cfg.epochs):
            if not callback({"val/accuracy": fit(net)}):
                break

    Args:
        run: of ``rnn_sweep.main`` or ``start_run``; what ``run.keep`` is to save comes before.
        epochs: that there will be at most.

    Raises:
        UserError: the number of epochs is no integer of at least 1, or the run has had a loop.
    """

    def __init__(self, run: Run, epochs: int) -> None:
        self.run = run
        self._epochs = run.epochs(epochs)
        self._number = next(self._epochs, None)
        self.done: int = epochs if self._number is None else self._number - 1
        """Epochs that an earlier try has behind it; 0 in a new run."""

    def __call__(self, metrics: Mapping[str, Any]) -> bool:
        """End an epoch. False where the loop should end: pruned, interrupted, diverged, or all epochs done.

        Raises:
            UserError: a metric is no number, or the loop has ended.
        """
        if self._number is None:
            raise UserError(f"the callback said that the loop ends, and was called again, got {dict(metrics)!r:.100}")
        self.run.log(metrics)
        self._number = next(self._epochs, None)
        return self._number is not None

    def close(self) -> None:
        """End the loop where the trainer itself has ended it early."""
        if self._number is not None:
            self._number = None
            self._epochs.close()
