"""K classifiers of one shape trained as lanes of one batched network, with hand-written gradients."""

from rnn_sweep.lanes.batches import Batches
from rnn_sweep.lanes.network import LaneNetwork, Share

__all__ = ["Batches", "LaneNetwork", "Share"]
