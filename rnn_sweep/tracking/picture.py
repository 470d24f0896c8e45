"""Pictures of a run: its learning curves, and its gradients by time step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rnn_sweep.outcome import SCORES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
    # Figure and not pyplot: no global figure list, no search for a window system.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), dpi=100)
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _panel(left, "loss", history, metrics)
    _panel(
        right, next((name for name in SCORES if history and f"val/{name}" in history[-1]), SCORES[0]), history, metrics
    )
    figure.suptitle(title, fontsize=11)
    figure.subplots_adjust(left=0.07, right=0.98, bottom=0.14, top=0.86, wspace=0.2)
    figure.savefig(path)


def save_gradients(source: Path) -> Path:
    """Draw a run's ``gradients.json`` (see :mod:`rnn_sweep.training.gradients`); returns the PNG file beside it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = json.loads(source.read_text())
    points = [(t, norm) for t, norm in enumerate(found["norms"], 1) if norm]  # a logarithm has no place for zero
    figure = Figure(figsize=(6.4, 3.6), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    if points:
        axes.semilogy(*zip(*points, strict=True), color=_VAL, marker="o" if len(points) <= 40 else "", markersize=3)
    axes.set_xlim(0, len(found["norms"]) + 1)
    axes.set_xlabel("time step t")
    axes.set_ylabel("gradient of the loss at state t")
    axes.set_title(f"How far back learning reaches, after epoch {found['epoch']}", fontsize=11)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    path = source.with_suffix(".png")
    figure.savefig(path)
    return path


def _panel(axes: Axes, kind: str, history: Sequence[Mapping[str, float]], metrics: Mapping[str, float]) -> None:
    from matplotlib.ticker import MaxNLocator

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
    axes.set_xlabel("epoch")
    axes.set_title("R²" if kind == "r2" else kind, fontsize=10)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9)
