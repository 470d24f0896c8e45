"""A population in a report: who copied whom, and what the winner was trained with."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnn_sweep.report.stats import Stats
from rnn_sweep.sweep import lineage
from rnn_sweep.sweep.population import place, score
from rnn_sweep.trial import SEGMENT_ATTR

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from rnn_sweep.report.figures import Plot

_WINNER, _OTHER, _COPY = "#2563eb", "#c3c8d1", "#d1495b"


@dataclass(frozen=True)
class _Line:
    """A segment, or a copy, as a line of a figure."""

    epochs: list[int]
    values: list[float]
    colour: str
    width: float
    dashed: bool
    name: str


def is_one(stats: Stats) -> bool:
    """Whether the study's trials are the segments of a population."""
    return any(SEGMENT_ATTR in trial.user_attrs for trial in stats.trials)


def sentences(stats: Stats) -> Iterator[str]:
    """How many copies there were, and the winner's schedule."""
    if not is_one(stats):
        return
    tree = lineage.tree_of(stats.trials)
    members = {place(trial)[0] for trial in tree}
    copies = sum(lineage.is_copy(trial) for trial in tree)
    yield f"Each trial is a segment of one of {len(members)} members; {copies} of them began as a copy of a better one."
    if stats.best is None or SEGMENT_ATTR not in stats.best.user_attrs:
        return
    parts = []
    for segment in lineage.schedule(stats.best, stats.trials):
        values = ", ".join(f"{key} = {_number(value)}" for key, value in segment["set"].items())
        parts.append(f"until epoch {segment['until']} {values}")
    yield f"The winner's schedule: {'; '.join(parts)}."


def plots(stats: Stats, make: Callable[..., Plot]) -> Sequence[Plot]:
    """Its figures; none of another study."""
    if not is_one(stats):
        return []
    name = stats.objectives[0]
    caption = f"{name} of each member after each segment; dashed, a copy of another's weights; blue, the winner's line."
    scores = make("lineage", "Lineage", caption, lambda v: _draw(v, _tree(stats), name))
    found = [scores]
    keys = _numbers(stats)
    for key in keys:
        told = f"{key} over the epochs of each member, the winner's line in blue: the schedule that came out."
        file = re.sub(r"\W", "_", f"schedule_{key}")
        found.append(make(file, f"Schedule of {key}", told, _drawer(stats, key)))
    return found


def _drawer(stats: Stats, key: str) -> Callable[[Any], Any]:
    return lambda v: _draw(v, list(_values(stats, key)), key, log=_spread(stats, key))


def _numbers(stats: Stats) -> list[str]:
    """The mutable parameters that are numbers, by the names in the study."""
    found = dict[str, None]()
    for trial in stats.trials:
        for key, value in trial.params.items():
            mutable = key.lstrip("+") in trial.user_attrs.get(SEGMENT_ATTR, {}).get("keys", ())
            if mutable and isinstance(value, int | float) and not isinstance(value, bool):
                found[key] = None
    return list(found)


def _spread(stats: Stats, key: str) -> bool:
    values = [trial.params[key] for trial in stats.trials if key in trial.params]
    return bool(min(values) > 0 and max(values) > 10 * min(values))


def _winners(stats: Stats) -> set[int]:
    best = stats.best
    if best is None or SEGMENT_ATTR not in best.user_attrs:
        return set()
    return {trial.number for trial in lineage.line_of(best, stats.trials)}


def _tree(stats: Stats) -> list[_Line]:
    """A line from each segment's score to that of what goes on from it; the winner's last, on top."""
    by_number, winners, lines = {t.number: t for t in stats.trials}, _winners(stats), []
    for trial in lineage.tree_of(stats.trials):
        value = score(trial)
        if value is None:
            continue
        attribute = trial.user_attrs[SEGMENT_ATTR]
        source = by_number.get(attribute["source"])
        before = score(source) if source is not None else None
        epochs = [attribute["until"]] if before is None else [attribute["start"], attribute["until"]]
        values = [value] if before is None else [before, value]
        copied = lineage.is_copy(trial)
        own = trial.number in winners
        colour = _WINNER if own else _COPY if copied else _OTHER
        lines.append(_Line(epochs, values, colour, 2.5 if own else 1.2, copied, _name(trial)))
    return sorted(lines, key=lambda line: line.colour == _WINNER)


def _values(stats: Stats, key: str) -> Iterator[_Line]:
    """A level line for each segment; the winner's last, on top."""
    winners = _winners(stats)
    tree = [trial for trial in lineage.tree_of(stats.trials) if key in trial.params]
    for trial in sorted(tree, key=lambda t: t.number in winners):
        attribute, value = trial.user_attrs[SEGMENT_ATTR], float(trial.params[key])
        own = trial.number in winners
        epochs = [attribute["start"], attribute["until"]]
        yield _Line(epochs, [value, value], _WINNER if own else _OTHER, 2.5 if own else 1.2, False, _name(trial))


def _name(trial: FrozenTrial) -> str:
    member, generation = place(trial)
    return f"trial {trial.number}: member {member}, generation {generation}"


def _draw(v: Any, lines: Sequence[_Line], name: str, *, log: bool = False) -> Any:
    """The lines by Plotly or by matplotlib: ``v`` is the module of Optuna's plots of either kind."""
    if v.__name__.endswith("matplotlib"):
        return _by_matplotlib(lines, name, log=log)
    import plotly.graph_objects as go  # type: ignore[import-untyped]

    figure = go.Figure()
    for line in lines:
        style = {"color": line.colour, "width": line.width, "dash": "dash" if line.dashed else "solid"}
        figure.add_trace(
            go.Scatter(x=line.epochs, y=line.values, mode="lines+markers", line=style, marker_size=4, name=line.name)
        )
    figure.update_layout(showlegend=False, xaxis_title="epoch", yaxis_title=name, yaxis_type="log" if log else "linear")
    return figure


def _by_matplotlib(lines: Sequence[_Line], name: str, *, log: bool) -> Any:
    import matplotlib.pyplot as plt

    _, axes = plt.subplots()
    for line in lines:
        style = "--" if line.dashed else "-"
        axes.plot(line.epochs, line.values, style, color=line.colour, linewidth=line.width, marker="o", markersize=3)
    axes.set_xlabel("epoch")
    axes.set_ylabel(name)
    axes.set_yscale("log" if log else "linear")
    return axes


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
