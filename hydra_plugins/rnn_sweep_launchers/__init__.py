"""Hydra launchers of rnn-sweep."""
