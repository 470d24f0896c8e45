"""Readable recurrent classifiers, the reference and what is exported and served; and networks of the user's own."""

from rnn_sweep.models.building import Network, first, network
from rnn_sweep.models.custom import CustomNetwork, check_target
from rnn_sweep.models.recurrent import ModelSpec, RecurrentNetwork, initialise, recur
from rnn_sweep.models.weights import load_weights, save_weights

__all__ = [
    "CustomNetwork",
    "ModelSpec",
    "Network",
    "RecurrentNetwork",
    "check_target",
    "first",
    "initialise",
    "load_weights",
    "network",
    "recur",
    "save_weights",
]
