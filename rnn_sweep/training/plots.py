"""A run's gradients by time step as a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rnn_sweep.drawing import DRAWING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOUR = "#d1495b"


def save_gradients(source: Path) -> Path:
    """Draw a run's ``gradients.json`` (see :mod:`rnn_sweep.training.gradients`); returns the PNG file beside it."""
    found = json.loads(source.read_text())
    path = source.with_suffix(".png")
    with DRAWING:
        _gradients(found["norms"], found["epoch"]).savefig(path)
    return path


def _gradients(norms: Sequence[float | None], epoch: int) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    points = [(t, norm) for t, norm in enumerate(norms, 1) if norm]  # a logarithm has no place for zero
    figure = Figure(figsize=(6.4, 3.6), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    if points:
        axes.semilogy(*zip(*points, strict=True), color=_COLOUR, marker="o" if len(points) <= 40 else "", markersize=3)
    axes.set_xlim(0, len(norms) + 1)
    axes.set_xlabel("time step t")
    axes.set_ylabel("gradient of the loss at state t")
    axes.set_title(f"How far back learning reaches, after epoch {epoch}", fontsize=11)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure
