"""The network that a shape asks for: one of ours, or the user's own."""

from __future__ import annotations

from rnn_sweep.models.custom import CustomNetwork, check_answers
from rnn_sweep.models.recurrent import ModelSpec, RecurrentNetwork, initialise

Network = RecurrentNetwork | CustomNetwork


def network(spec: ModelSpec) -> Network:
    """A network whose weights are yet to be loaded. Raises :class:`UserError` as :class:`CustomNetwork`."""
    return RecurrentNetwork(spec) if spec.target is None else CustomNetwork(spec)


def first(spec: ModelSpec, seed: int) -> Network:
    """A network with its first weights; equal seeds give equal weights.

    Raises:
        UserError: a network of the user's own cannot be built, or answers with other shapes than it must.
    """
    if spec.target is not None:
        custom = CustomNetwork(spec, seed)
        check_answers(custom)
        return custom
    model = RecurrentNetwork(spec)
    initialise(model, spec, seed)
    return model
