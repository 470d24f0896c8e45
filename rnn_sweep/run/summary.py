"""The last lines of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rnn_sweep.outcome import SCORES, Outcome, State, metric_names
from rnn_sweep.quoting import command_line
from rnn_sweep.terminal import clock

SHOWN = {"accuracy": ("acc", "{:6.2%}"), "r2": ("R²", "{:.4f}")}
"""By score: its short name, and its form."""

_OURS = frozenset(metric_names(*SCORES))


def summary(outcome: Outcome, folder: str, ui: str | None, way_on: Sequence[str]) -> str:
    """The result, the output folder, what opens the curves, how to go on.

    Args:
        outcome: of the run.
        folder: its output folder.
        ui: what opens the run's page, one line or several.
        way_on: the command that goes on with the run where it was interrupted; empty where something else does.
    """
    parts = [outcome.state.value, *([outcome.cause] if outcome.cause else []), *_figures(outcome)]
    lines = ["result:  " + ", ".join(parts), f"folder:  {folder}"]
    if ui is not None:
        lines.append("curves:  " + ui.replace("\n", "\n         "))
    if outcome.state is State.INTERRUPTED and way_on:
        lines.append(f"go on:   {command_line(way_on)}")
    return "\n".join(lines)


def _figures(outcome: Outcome) -> list[str]:
    metrics = outcome.metrics
    if not {"parameters", "seconds"} <= metrics.keys() <= _OURS:
        parts = [f"{name} {value:.6g}" for name, value in metrics.items()]
        parts = parts or [f"{value:.6g}" for value in outcome.values]
        return [*parts, *([f"{outcome.epochs} epochs in {clock(outcome.seconds)}"] if outcome.epochs else [])]
    return [
        *_scores(metrics),
        f"{outcome.epochs} epochs in {clock(outcome.seconds)}",
        f"{outcome.images_per_second:,.0f} samples/s",
    ]


def _scores(metrics: Mapping[str, float]) -> list[str]:
    """The scores of the package's own training function."""
    parts = []
    for name, (short, form) in SHOWN.items():
        word, test, best = "accuracy" if name == "accuracy" else short, f"test/{name}", f"val/{name}_best"
        if test in metrics:
            parts.append(f"test {word} {form.format(metrics[test]).strip()}")
        if best in metrics:
            epoch = metrics["best_epoch"]
            parts.append(f"best validation {word} {form.format(metrics[best]).strip()} in epoch {epoch:.0f}")
    return parts
