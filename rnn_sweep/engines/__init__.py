"""Engines: how one network trains for an epoch. See :mod:`rnn_sweep.engines.engine` for what each of them does."""

from rnn_sweep.engines.building import announce, build
from rnn_sweep.engines.choosing import Choice, choose, settle

__all__ = ["Choice", "announce", "build", "choose", "settle"]
