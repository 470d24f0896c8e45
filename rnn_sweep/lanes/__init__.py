"""K classifiers of one shape trained as lanes of one batched network, with hand-written gradients."""

from rnn_sweep.lanes.batches import Batches
from rnn_sweep.lanes.network import LaneNetwork

__all__ = ["Batches", "LaneNetwork"]
