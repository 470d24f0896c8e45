"""``model.fit`` of Keras as a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

# absl, which Keras imports, closes the standard error of that moment when logging is configured anew: pytest's.
with redirect_stderr(sys.__stderr__):
    import keras

import numpy as np
import pytest

from rnn_sweep import Outcome, Run
from rnn_sweep.integrations.keras import RunCallback
from tests.integrations.conftest import CutError

# Keras asks torch's tensors in a way that numpy 2 deprecates.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]


class Cuts(keras.callbacks.Callback):
    """Ends the run in the third epoch."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == 1 and self.model.optimizer.iterations >= 9:
            raise CutError


def fit(cfg: Any, run: Run, *more: Any) -> None:
    x = np.random.default_rng(0).normal(size=(120, 4)).astype("float32")
    y = (x.sum(1) > 0).astype(int)
    keras.utils.set_random_seed(run.seed)
    layers = [
        keras.Input((4,)),
        keras.layers.Dense(8, "tanh"),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(2, "softmax"),
    ]
    net = keras.Sequential(layers)
    net.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
    callback = RunCallback(run, cfg["epochs"])
    net.fit(
        x, y, 30, validation_data=(x, y), epochs=cfg["epochs"], initial_epoch=callback.done,
        callbacks=[callback, *more], verbose=0,
    )  # fmt: skip


@pytest.mark.slow
def test_a_run_that_was_cut_off_goes_on_to_the_same_figures(gone_on: Callable[..., tuple[Outcome, Outcome]]) -> None:
    """Keras goes on from weights, optimiser and order, bit for bit."""
    again, whole = gone_on(lambda cfg, run: fit(cfg, run, Cuts()), fit, objective="val_accuracy")
    assert whole.epochs == 5
    assert list(again.history) == list(whole.history)
    assert whole.values == (whole.history[-1]["val_accuracy"],)


def test_early_stopping_of_keras_own_ends_the_run(trained: Callable[..., Outcome]) -> None:
    def stopped(cfg: Any, run: Run) -> None:
        fit(cfg, run, keras.callbacks.EarlyStopping("val_accuracy", mode="max", min_delta=1.0, patience=2))
        run.log({"test/accuracy": 0.5})

    outcome = trained(stopped, "stopped", objective="val_accuracy")
    assert (outcome.epochs, outcome.state.value) == (3, "complete")
    assert "test/accuracy" not in outcome.history[-1]
