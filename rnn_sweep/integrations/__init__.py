"""Runs of trainers that own the loop over epochs: Lightning, Keras and whatever calls a function after each epoch.

Each module needs the library that it is for, and nothing imports one but whoever uses it:
:mod:`rnn_sweep.integrations.lightning`, :mod:`rnn_sweep.integrations.keras`, :mod:`rnn_sweep.integrations.sklearn`
and, for any other, :mod:`rnn_sweep.integrations.callback`.
"""
