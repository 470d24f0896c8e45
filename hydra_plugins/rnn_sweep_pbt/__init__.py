"""Hydra's plugin loader looks here for population-based training; it is a way of asking of :mod:`rnn_sweep.sweep`."""
