"""rnn-sweep: Hydra composes, Optuna searches, MLflow records, and training functions are pruned, resumed and reported.

Of your own: ``main`` decorates a training function, ``start_run`` is the same as a context, ``Run`` what both give and
``Outcome`` what comes out; ``Hooks`` check its configuration, and raise ``UserError``. Of ours, from Python:
``compose``, ``train``, ``run_sweep``, ``trials`` and ``Study`` (:mod:`rnn_sweep.api`).
"""

from typing import Any

__version__ = "0.1.0"

_HOME = {
    **dict.fromkeys(("Study", "compose", "run_sweep", "train", "trials"), "rnn_sweep.api"),
    "Hooks": "rnn_sweep.run.hooks",
    "Outcome": "rnn_sweep.outcome",
    "Run": "rnn_sweep.run.bridge",
    "UserError": "rnn_sweep.errors",
    "main": "rnn_sweep.run.decorator",
    "start_run": "rnn_sweep.run.lifecycle",
}
"""Module of each public name; ``__init__.pyi`` has the same for type checkers."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for: this package is imported by every Hydra application."""
    if name in _HOME:
        import importlib

        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'rnn_sweep' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_HOME]
