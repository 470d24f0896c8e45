"""rnn-sweep: Hydra composes, Optuna searches, MLflow records, and recurrent networks train as lanes of one batch."""

__version__ = "0.1.0"
