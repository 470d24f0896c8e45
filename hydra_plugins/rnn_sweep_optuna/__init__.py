"""Hydra's plugin loader looks here for the Optuna sweeper; the sweeper itself is :mod:`rnn_sweep.sweep`."""
