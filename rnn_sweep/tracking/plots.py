"""A run's learning curves as a picture."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rnn_sweep.drawing import DRAWING
from rnn_sweep.outcome import SCORES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TRAIN, _VAL, _TEST, _NAIVE = "#7f8fa6", "#d1495b", "#2d6a4f", "#8d6a9f"


def save_curves(path: Path, history: Sequence[Mapping[str, float]], metrics: Mapping[str, float], title: str) -> None:
    """Draw loss and accuracy (or R²) side by side, training beside validation, the test result as a dashed line.

    Args:
        path: PNG file to write.
        history: one mapping for each epoch with ``train/loss``, ``val/loss``, ``train/accuracy`` and
            ``val/accuracy`` (or ``…/r2``), and optionally its number as ``epoch`` (else counted from 1).
        metrics: final metrics; ``test/loss``, ``test/accuracy`` and those of a naive answer (``naive/…``) are drawn
            where present.
        title: heading.
    """
    score = next((name for name in SCORES if history and f"val/{name}" in history[-1]), SCORES[0])
    with DRAWING:
        figure, panels = _figure()
        for axes, kind in zip(panels, ("loss", score), strict=True):
            _panel(axes, kind, history, metrics)
        figure.suptitle(title, fontsize=11)
        figure.savefig(path, pil_kwargs={"compress_level": 1})  # nearly as small, in a third of the time


def drawable(history: Sequence[Mapping[str, float]]) -> bool:
    """Whether any epoch has a curve that :func:`save_curves` draws."""
    shown = {f"{part}/{kind}" for part in ("train", "val") for kind in ("loss", *SCORES)}
    return any(shown & row.keys() for row in history)


@functools.cache
def _figure() -> tuple[Figure, tuple[Axes, Axes]]:
    """What all pictures have in common; making it anew takes as long as drawing it."""
    # Figure and not pyplot: no global figure list, no search for a window system.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 3.6), dpi=100)
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.subplots_adjust(left=0.07, right=0.98, bottom=0.14, top=0.86, wspace=0.2)
    return figure, (left, right)


def _panel(axes: Axes, kind: str, history: Sequence[Mapping[str, float]], metrics: Mapping[str, float]) -> None:
    """Replace what is drawn in ``axes``."""
    for line in [*axes.lines]:
        line.remove()
    if (legend := axes.get_legend()) is not None:
        legend.remove()
    axes.relim()
    for part, color in (("train", _TRAIN), ("val", _VAL)):
        key = f"{part}/{kind}"
        points = [(row.get("epoch", i), row[key]) for i, row in enumerate(history, 1) if key in row]
        if points:
            marker = "o" if len(points) <= 40 else ""
            label = "training" if part == "train" else "validation"
            axes.plot(*zip(*points, strict=True), color=color, marker=marker, markersize=3, label=label)
    test = metrics.get(f"test/{kind}")
    if test is not None:
        axes.axhline(test, color=_TEST, linestyle="--", linewidth=1, label=f"test {test:.4f}")
    naive = metrics.get(f"naive/{kind}")
    if naive is not None:
        axes.axhline(naive, color=_NAIVE, linestyle=":", linewidth=1, label=f"naive {naive:.4f}")
    axes.set_title("R²" if kind == "r2" else kind, fontsize=10, y=1.0)  # y: where it would take long to find out
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9)
