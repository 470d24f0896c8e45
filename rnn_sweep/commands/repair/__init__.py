"""``rnn-sweep repair``: a copy of a damaged file, what can be read of it in its place, and what was lost in words."""

from rnn_sweep.commands.repair.repairing import repair

__all__ = ["repair"]
