"""The figures of a study: Optuna's own plots, as Plotly figures for the page and as PNG files beside it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_sweep.report.facts import Facts, importance_target
from rnn_sweep.storage import quiet
from rnn_sweep.sweep.space import bare
from rnn_sweep.sweep.tally import state_of

if TYPE_CHECKING:
    from optuna import Study

Draw = Callable[[Any], Any]
"""Takes ``optuna.visualization`` or ``optuna.visualization.matplotlib`` to a figure of its kind."""

ACCENT, MUTED = "#2563eb", "#c3c8d1"


@dataclass(frozen=True)
class Plot:
    """One figure that can be drawn of a study, or the reason why it cannot."""

    key: str
    """Name of its PNG file."""
    title: str
    caption: str
    draw: Draw | None = None
    reason: str = ""
    picture: bool = True
    """Whether it is also saved as a PNG file."""


def plots(study: Study, facts: Facts) -> list[Plot]:
    """All figures of a study, in the order in which they are read."""
    if not facts.total:
        return []
    several = len(facts.directions) > 1
    return [
        *(_front(study, facts) if several else []),
        *(_history(study, facts, i) for i in range(len(facts.directions))),
        _importances(study, facts),
        *_relations(study, facts),
        *([] if several else [_intermediate(study, facts)]),
        Plot(
            "timeline",
            "Timeline",
            "When each trial ran and how it ended: gaps are slots that had nothing to do.",
            lambda v: v.plot_timeline(study),
            picture=False,
        ),
    ]


def page_figure(plot: Plot, facts: Facts) -> dict[str, Any] | str:
    """The figure for the page as Plotly's JSON tree, or why there is none."""
    if plot.draw is None:
        return plot.reason
    import optuna.visualization as drawing

    try:
        with quiet():
            figure = plot.draw(drawing)
    except Exception as error:  # a plot that a rare study breaks must not cost the rest of the report
        return f"Optuna could not draw this: {' '.join(str(error).split())[:200]}"
    figure.update_layout(title=None, template="plotly_white", width=None, height=460, autosize=True)
    figure.update_layout(margin={"l": 60, "r": 20, "t": 30, "b": 50}, font={"family": "system-ui, sans-serif"})
    tree: dict[str, Any] = json.loads(figure.to_json(validate=False))
    if plot.key == "intermediate":
        _tell_apart(tree, facts)
    return tree


def save_pictures(found: Sequence[Plot], facts: Facts, folder: Path) -> list[Path]:
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
                _tidy(figure, plot, facts)
                figure.savefig(folder / f"{plot.key}.png", dpi=100, bbox_inches="tight")
        except Exception:  # noqa: S112 - as above; the page says why
            continue
        finally:
            plt.close("all")
        files.append(folder / f"{plot.key}.png")
    return files


def _front(study: Study, facts: Facts) -> Iterator[Plot]:
    caption = "Each point is a trial. The marked ones are better than any other in at least one objective."
    if len(facts.directions) > 3:
        yield Plot("pareto_front", "Pareto front", caption, reason="There are more than three objectives.")
        return
    names = list(facts.objectives)
    draw = _if_complete(facts, lambda v: v.plot_pareto_front(study, target_names=names))
    yield Plot("pareto_front", "Pareto front", caption, draw, NO_TRIAL)


def _history(study: Study, facts: Facts, i: int) -> Plot:
    name = facts.objectives[i]
    single = len(facts.directions) == 1
    return Plot(
        "history" if single else f"history_{i}",
        "Optimisation history" if single else f"Optimisation history of {name}",
        f"{name} of each complete trial, and the best so far.",
        _if_complete(facts, lambda v: v.plot_optimization_history(study, target=_target(facts, i), target_name=name)),
        NO_TRIAL,
    )


def _importances(study: Study, facts: Facts) -> Plot:
    params = list(facts.importances)
    name = facts.objectives[0]

    def draw(v: Any) -> Any:
        with importance_target(study) as target:
            return v.plot_param_importances(study, params=params, target=target, target_name=name)

    return Plot(
        "importances",
        "Parameter importances",
        f"How much of what makes {name} good each parameter accounts for (Optuna's PED-ANOVA).",
        draw if params else None,
        "Importances need at least five complete trials with different values and two parameters that vary.",
    )


def _relations(study: Study, facts: Facts) -> Iterator[Plot]:
    """How the first objective depends on one parameter, on two, on all."""
    name, target = facts.objectives[0], _target(facts, 0)
    complete = [t for t in facts.trials if state_of(t) == "complete"]
    # Optuna draws nothing but warnings of a parameter that had one value.
    keys = [k for k in facts.keys if len({t.params[k] for t in complete if k in t.params}) > 1]
    common = [k for k in keys if all(k in t.params for t in complete)]
    options = {"target": target, "target_name": name}
    none = _nothing_to_relate(len(facts.keys), len(complete), len(keys))
    apart = none if len(keys) < 2 else "Only one parameter is common to all trials."
    yield Plot(
        "parallel_coordinate",
        "Parallel coordinates",
        f"One line a complete trial, coloured by {name}. Parameters that only some trials have are left out.",
        _if_complete(facts, lambda v: v.plot_parallel_coordinate(study, params=common, **options), len(common) > 1),
        apart,
        picture=False,
    )
    yield Plot(
        "slice",
        "Slices",
        f"{name} against each parameter; darker points are later trials.",
        _if_complete(facts, lambda v: v.plot_slice(study, params=keys, **options), bool(keys)),
        none,
    )
    top = [k for k in facts.importances if k in common][:2] or common[:2]
    yield Plot(
        "contour",
        "Contour of the two that matter most",
        f"{name} over {' and '.join(bare(k) for k in top)}, interpolated between the trials.",
        _if_complete(facts, lambda v: v.plot_contour(study, params=top, **options), len(top) == 2),
        apart,
        picture=False,
    )


def _nothing_to_relate(parameters: int, complete: int, varied: int) -> str:
    """Why figures of parameters are missing."""
    if not complete:
        return NO_TRIAL
    if parameters < 2:
        return "The space has one parameter." if parameters else "The space has no parameter."
    return f"{'Only one' if varied else 'No'} parameter has had several values."


def _intermediate(study: Study, facts: Facts) -> Plot:
    reported = any(t.intermediate_values for t in facts.trials)
    return Plot(
        "intermediate",
        "Learning curves",
        f"{facts.objectives[0]} as it was reported while trials ran; grey curves were pruned, diverged or failed.",
        (lambda v: v.plot_intermediate_values(study)) if reported else None,
        "No trial reported a value on its way.",
    )


NO_TRIAL = "No trial is complete."


def _if_complete(facts: Facts, draw: Draw, possible: bool = True) -> Draw | None:
    return draw if facts.counts.get("complete") and possible else None


def _target(facts: Facts, i: int) -> Callable[[Any], float] | None:
    return None if len(facts.directions) == 1 else lambda trial: float(trial.values[i])


def _tell_apart(tree: dict[str, Any], facts: Facts) -> None:
    """Complete trials in one colour over the others in grey; a legend of 1,000 trials helps nobody."""
    complete = {t.number for t in facts.trials if state_of(t) == "complete"}
    for trace in tree["data"]:
        color = ACCENT if _trial_number(trace["name"]) in complete else MUTED
        trace |= {"line": {"color": color, "width": 1.2}, "marker": {"size": 3, "color": color}, "opacity": 0.75}
    tree["data"].sort(key=lambda trace: _trial_number(trace["name"]) in complete)
    tree["layout"]["showlegend"] = False


def _tidy(figure: Any, plot: Plot, facts: Facts) -> None:
    """The same for matplotlib, sizes that can be read, and a ground on which grey can be seen."""
    figure.set_size_inches(max(8.0, 2.4 * len(figure.axes)) if plot.key == "slice" else 8.0, 4.5)
    for axes in figure.axes:
        axes.set_facecolor("white")
        axes.grid(color="#e3e7ed")
    if plot.key != "intermediate":
        return
    complete = {t.number for t in facts.trials if state_of(t) == "complete"}
    for axes in figure.axes:
        for line in axes.get_lines():
            whole = _trial_number(line.get_label()) in complete
            line.set(color=ACCENT if whole else MUTED, alpha=0.75, linewidth=1, zorder=2 + whole, markersize=2)
        if axes.get_legend() is not None:
            axes.get_legend().remove()


def _trial_number(label: str | None) -> int | None:
    found = re.fullmatch(r"Trial ?(\d+)", label or "")
    return int(found[1]) if found else None
