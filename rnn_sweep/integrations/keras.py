"""Keras 3: one callback makes ``model.fit`` a run that is recorded, pruned, stopped, killed and gone on with.

::

    callback = RunCallback(run, cfg.epochs)
    model.fit(x, y, epochs=cfg.epochs, initial_epoch=callback.done, callbacks=[callback])
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
import torch
from torch import Tensor

from rnn_sweep.integrations.callback import EpochCallback
from rnn_sweep.random_state import random_states, restore_random

if TYPE_CHECKING:
    from rnn_sweep.run.bridge import Run


class RunCallback(keras.callbacks.Callback):
    """Ends each epoch of ``model.fit`` as ``run.epochs`` does: records, reports, saves the model, and stops it.

    Args:
        run: of ``rnn_sweep.main`` or ``start_run``.
        epochs: that ``model.fit`` gets.
    """

    def __init__(self, run: Run, epochs: int) -> None:
        super().__init__()
        self._saved = run.keep(_Variables(), "keras")
        self._callback = EpochCallback(run, epochs)
        self.done = self._callback.done
        """Epochs that an earlier try has behind it, for ``initial_epoch``."""
        self._random = random_states()

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Put the variables of an earlier try back, and the generators: building a model draws a batch."""
        self._saved.attach(self.model)
        restore_random(self._random)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log the epoch, and stop the model where the run ends."""
        if not self._callback(logs or {}):
            self.model.stop_training = True

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """End the loop where another callback has."""
        self._callback.close()


class _Variables:
    """Every variable of a model and its optimiser, those of its generators included."""

    def __init__(self) -> None:
        self._model: Any = None
        self._states: list[Tensor] | None = None

    def attach(self, model: Any) -> None:
        """Take over a model that is built, and give it what was saved."""
        self._model = model
        if self._states is not None:
            for variable, state in zip(self._variables(), self._states, strict=True):
                variable.assign(state.numpy())

    def state_dict(self) -> dict[str, list[Tensor] | None]:
        """Copies of the variables; of a model that is not built yet None."""
        if self._model is None:
            return {"variables": self._states}
        found = [torch.tensor(keras.ops.convert_to_numpy(variable)) for variable in self._variables()]
        return {"variables": found}

    def load_state_dict(self, state: Mapping[str, list[Tensor] | None]) -> None:
        """The inverse; the model gets it once it is built."""
        self._states = state["variables"]

    def _variables(self) -> list[Any]:
        optimizer = self._model.optimizer
        if optimizer is not None and not optimizer.built:
            optimizer.build(self._model.trainable_variables)
        own = list(optimizer.variables) if optimizer is not None else []
        return [*self._model.variables, *own]
