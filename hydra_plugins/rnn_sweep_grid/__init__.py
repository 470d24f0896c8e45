"""Hydra's plugin loader looks here for the grid sweeper."""
