"""Training: :func:`train` takes a configuration and a data set to an :class:`~rnn_sweep.outcome.Outcome`."""

from rnn_sweep.training.solo import WEIGHTS_FILE, Observer, check, train

__all__ = ["WEIGHTS_FILE", "Observer", "check", "train"]
