"""Images as sequences of rows: fetched once, cached as checksummed IDX files, opened without heavy imports.

A new data set is one module with a :class:`~rnn_sweep.data.store.Family`, one line in
:data:`~rnn_sweep.data.dataset.FAMILIES`, one YAML file and one test.
"""

from rnn_sweep.data.dataset import FAMILIES, Dataset, load

__all__ = ["FAMILIES", "Dataset", "load"]
