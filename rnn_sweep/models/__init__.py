"""Readable recurrent classifiers: the reference, and what is exported and served."""

from rnn_sweep.models.recurrent import ModelSpec, RecurrentNetwork, initialise
from rnn_sweep.models.weights import load_weights, save_weights

__all__ = ["ModelSpec", "RecurrentNetwork", "initialise", "load_weights", "save_weights"]
