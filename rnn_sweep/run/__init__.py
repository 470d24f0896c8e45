"""The bridge between a sweep and a training function: what the function sees of its run, whoever wrote it.

:func:`rnn_sweep.main` is the decorator, :func:`rnn_sweep.start_run` the same as a context, and :class:`rnn_sweep.Run`
what both give. It knows nothing of networks: the package's own training function is one of its users.
"""
