"""Sequences and what is to be told of them: ``check`` a configuration, ``load`` its data set.

A new data set is one module in :mod:`rnn_sweep.data.families`, one YAML file and one test; ``docs/data.md`` shows how.
Images are fetched once, cached as checksummed IDX files, and opened without heavy imports.
"""

from rnn_sweep.data.checking import check, padded, streamed
from rnn_sweep.data.dataset import Dataset, load, sha256
from rnn_sweep.data.families import FAMILIES
from rnn_sweep.data.family import IGNORED

__all__ = ["FAMILIES", "IGNORED", "Dataset", "check", "load", "padded", "sha256", "streamed"]
