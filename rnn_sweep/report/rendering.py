"""Figures drawn: as Plotly's JSON trees for a page, light or dark, and with matplotlib as PNG files beside it."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_sweep.report.figures import Plot
from rnn_sweep.report.stats import Stats
from rnn_sweep.storage import quiet
from rnn_sweep.sweep.counts import state_of
from rnn_sweep.trial import CONFIRM_ATTR

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

ACCENT, MUTED = "#3b76f0", "#9aa5b5"
"""To be seen on white and on black, as are all shades between them."""
_PRUNED = "Pruned (last report)"


def templates() -> dict[str, Any]:
    """Plotly's own templates ``light`` and ``dark``; the page sets the ground."""
    import plotly.io as pio  # type: ignore[import-untyped]

    names = {"light": "plotly_white", "dark": "plotly_dark"}
    return {mode: {"layout": pio.templates[name].to_plotly_json()["layout"]} for mode, name in names.items()}


def page_figure(plot: Plot, stats: Stats) -> dict[str, Any] | str:
    """The figure for the page as Plotly's JSON tree, or why there is none."""
    if plot.draw is None:
        return plot.reason
    import optuna.visualization as drawing

    try:
        with quiet():
            figure = plot.draw(drawing)
    except Exception as error:  # a plot that a rare study breaks must not cost the rest of the report
        return f"Optuna could not draw this: {' '.join(str(error).split())[:200]}"
    figure.update_layout(title=None, width=None, height=None, autosize=True)
    tree: dict[str, Any] = json.loads(figure.to_json(validate=False))
    tree["layout"].pop("template", None)  # the page has it, once for all
    for trace in tree["data"]:
        marker = trace.get("marker", {})
        marker |= {"colorscale": [[0, MUTED], [1, ACCENT]]} if "colorscale" in marker else {}
        marker |= {"color": ACCENT} if marker.get("color") == "blue" else {}
    if plot.key == "intermediate":
        _tell_apart(tree, stats)
    elif plot.key == "history":
        _add_pruned(tree, stats)
    elif plot.key == "parallel_coordinate":
        _shade(tree)
    return tree


def save_pictures(found: Sequence[Plot], stats: Stats, folder: Path) -> list[Path]:
    """Draw the PNG files ``<key>.png``; returns those that could be drawn."""
    import matplotlib as mpl

    if "matplotlib.pyplot" not in sys.modules:
        mpl.use("agg")  # no window system is looked for; a program that draws itself keeps what it has chosen
    import matplotlib.pyplot as plt
    import optuna.visualization.matplotlib as drawing

    files = []
    for plot in found:
        if plot.draw is None or not plot.picture:
            continue
        try:
            with quiet(), plt.rc_context():  # Optuna sets a style of its own for everything that comes later
                axes = plot.draw(drawing)
                figure = (axes if hasattr(axes, "figure") else axes.ravel()[0]).figure
                _tidy(figure, plot, stats)
                figure.savefig(folder / f"{plot.key}.png", dpi=100, bbox_inches="tight")
        except Exception:  # noqa: S112 - as above; the page says why
            continue
        finally:
            plt.close("all")
        files.append(folder / f"{plot.key}.png")
    return files


def last_report(trial: FrozenTrial) -> float | None:
    """The value that a trial reported last; None where it is no number, or there was none."""
    steps = trial.intermediate_values
    value = steps[max(steps)] if steps else math.nan
    return value if math.isfinite(value) else None


def _pruned(stats: Stats) -> Iterator[tuple[int, float]]:
    """Number and last value of each pruned trial."""
    for trial in stats.trials:
        value = last_report(trial)
        if state_of(trial) == "pruned" and value is not None and CONFIRM_ATTR not in trial.user_attrs:
            yield trial.number, value


def _add_pruned(tree: dict[str, Any], stats: Stats) -> None:
    """The history's pruned trials, beside the complete ones that Optuna draws."""
    points = list(_pruned(stats))
    if points:
        numbers, values = zip(*points, strict=True)
        marker = {"symbol": "x-thin", "size": 7, "line": {"color": MUTED, "width": 1.5}}
        trace = {"type": "scatter", "mode": "markers", "name": _PRUNED, "x": numbers, "y": values, "marker": marker}
        tree["data"].append(trace)


def _shade(tree: dict[str, Any]) -> None:
    """Lines of parallel coordinates in the colours of their scale, and labels in the page's."""
    reverse = any(trace.get("marker", {}).get("reversescale") for trace in tree["data"])
    for trace in tree["data"]:
        if trace["mode"] == "lines" and "customdata" in trace:
            part = 1 - trace["y"][0] if reverse else trace["y"][0]  # of the objective's range
            trace["line"]["color"], trace["opacity"] = _between(part), 0.8
    for label in tree["layout"].get("annotations", []):
        label.pop("bgcolor", None)
        label.get("font", {}).pop("color", None)


def _between(part: float) -> str:
    """The shade from :data:`MUTED`, 0, to :data:`ACCENT`, 1."""
    ends = [[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in (MUTED, ACCENT)]
    return f"rgb({','.join(str(round(a + part * (b - a))) for a, b in zip(*ends, strict=True))})"


def _tell_apart(tree: dict[str, Any], stats: Stats) -> None:
    """Complete trials in one colour over the others in grey; a legend of 1,000 trials helps nobody."""
    complete = {t.number for t in stats.trials if state_of(t) == "complete"}
    for trace in tree["data"]:
        color = ACCENT if _trial_number(trace["name"]) in complete else MUTED
        trace |= {"line": {"color": color, "width": 1.2}, "marker": {"size": 3, "color": color}, "opacity": 0.75}
    tree["data"].sort(key=lambda trace: _trial_number(trace["name"]) in complete)
    tree["layout"]["showlegend"] = False


def _tidy(figure: Any, plot: Plot, stats: Stats) -> None:
    """The same for matplotlib, sizes that can be read, and a ground on which grey can be seen."""
    figure.set_size_inches(max(8.0, 2.4 * len(figure.axes)) if plot.key == "slice" else 8.0, 4.5)
    for axes in figure.axes:
        axes.set_facecolor("white")
        axes.grid(color="#e3e7ed")
    points = list(_pruned(stats)) if plot.key == "history" else []
    if points:
        axes = figure.axes[0]
        axes.scatter(*zip(*points, strict=True), color=MUTED, marker="x", s=24, linewidths=1.2, label=_PRUNED)
        axes.legend()
    if plot.key != "intermediate":
        return
    complete = {t.number for t in stats.trials if state_of(t) == "complete"}
    for axes in figure.axes:
        for line in axes.get_lines():
            whole = _trial_number(line.get_label()) in complete
            line.set(color=ACCENT if whole else MUTED, alpha=0.75, linewidth=1, zorder=2 + whole, markersize=2)
        if axes.get_legend() is not None:
            axes.get_legend().remove()


def _trial_number(label: str | None) -> int | None:
    found = re.fullmatch(r"Trial ?(\d+)", label or "")
    return int(found[1]) if found else None
