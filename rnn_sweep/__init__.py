"""rnn-sweep: Hydra composes, Optuna searches, MLflow records, and recurrent networks train as lanes of one batch.

From Python: ``compose``, ``train``, ``run_sweep`` and ``trials``, which :mod:`rnn_sweep.api` describes.
"""

from typing import Any

__version__ = "0.1.0"

_API = ("compose", "run_sweep", "train", "trials")


def __getattr__(name: str) -> Any:
    """Import the functions of the API when they are asked for: this package is imported by every Hydra application."""
    if name in _API:
        import importlib

        return getattr(importlib.import_module("rnn_sweep.api"), name)
    raise AttributeError(f"module 'rnn_sweep' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_API]
