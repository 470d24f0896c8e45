"""The settings that :func:`rnn_sweep.main` adds to an application's configuration, which may set them itself."""
