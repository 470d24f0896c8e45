"""Training: :func:`train` takes a configuration and a data set to an :class:`~rnn_sweep.outcome.Outcome`.

It is a :class:`Population` of one lane; a sweep trains many lanes in one.
"""

from rnn_sweep.training.device import choose_device, one_thread_per_operation, use_one_thread
from rnn_sweep.training.ending import WEIGHTS_FILE, conclude
from rnn_sweep.training.gradients import FILE as GRADIENTS_FILE
from rnn_sweep.training.lane import Entry, Lane, Observer
from rnn_sweep.training.loop import Population, signature
from rnn_sweep.training.solo import check, train

__all__ = [
    "GRADIENTS_FILE",
    "WEIGHTS_FILE",
    "Entry",
    "Lane",
    "Observer",
    "Population",
    "check",
    "choose_device",
    "conclude",
    "one_thread_per_operation",
    "signature",
    "train",
    "use_one_thread",
]
