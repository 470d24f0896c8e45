"""Sweeps of any Hydra application with Optuna: ask, submit, tell the first that is done. No batches."""
