"""Training: :func:`train` takes a configuration and a run to an :class:`~rnn_sweep.outcome.Outcome`.

:class:`Training` is the same in steps of an epoch. It is written against the public :class:`rnn_sweep.Run`.
"""

from rnn_sweep.engines.device import one_thread_per_operation, use_one_thread
from rnn_sweep.training.function import check, settled, train
from rnn_sweep.training.loop import Training

__all__ = [
    "Training",
    "check",
    "one_thread_per_operation",
    "settled",
    "train",
    "use_one_thread",
]
