"""Sweeps of any Hydra application with Optuna: ask, submit, take the first that is done, tell. Never a batch."""
