"""The former name of :mod:`rnn_sweep.report.grid_figure`, which configurations may have in a ``_target_``."""

from rnn_sweep.report.grid_figure import GridFigure as Comparison

__all__ = ["Comparison"]
