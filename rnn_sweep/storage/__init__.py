"""Where a study is kept: the URL of an Optuna storage, opened, checked, and patient with the network."""

from rnn_sweep.storage.opening import at_once, open_patiently, open_storage, quiet

__all__ = ["at_once", "open_patiently", "open_storage", "quiet"]
