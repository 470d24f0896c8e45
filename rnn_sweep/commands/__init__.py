"""What the command ``rnn-sweep`` does, one module for each thing; :mod:`rnn_sweep.cli` holds its arguments."""
