"""Where a study is kept: the URL of an Optuna storage, opened, checked, and patient with the network."""

from rnn_sweep.storage.opening import at_once, open_patiently, open_storage, quiet
from rnn_sweep.storage.urls import STORAGE_VARIABLE, masked, unmasked

__all__ = ["STORAGE_VARIABLE", "at_once", "masked", "open_patiently", "open_storage", "quiet", "unmasked"]
