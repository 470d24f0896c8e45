"""What an answer that looks at no sequence gets: a network is to be measured against that."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rnn_sweep.data.family import IGNORED, Array


def frequencies(y_train: Array, y_test: Array, classes: int) -> Mapping[str, float]:
    """Always the class frequencies of the training labels: ``naive/loss`` in nats, ``naive/accuracy`` of the commonest.

    Each class counts once more than it occurs, so that one that training lacks costs no infinite loss.
    """
    y_train, y_test = y_train[y_train != IGNORED], y_test[y_test != IGNORED]
    counts = np.bincount(y_train, minlength=classes) + 1
    cost = -np.log(counts / counts.sum())
    return {
        "naive/loss": float(cost[y_test].mean()),
        "naive/accuracy": float((y_test == counts.argmax()).mean()),
    }


def mean(y_train: Array, y_test: Array) -> Mapping[str, float]:
    """Always the mean of the training targets: ``naive/loss`` is the mean squared error."""
    return squared_error(y_train.mean(axis=0, dtype=np.float64), y_test)


def squared_error(answer: Array, y_test: Array) -> Mapping[str, float]:
    """``naive/loss`` of a given answer: the mean squared error."""
    return {"naive/loss": float(np.square(answer - y_test.astype(np.float64)).mean())}
