"""The settings that an application under ``rnn_sweep.main`` gets."""
