"""The figures of a study: which of Optuna's own plots can be drawn of it, and what they are called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnn_sweep.report import population
from rnn_sweep.report.stats import Stats, importance_target, searched
from rnn_sweep.sweep.counts import state_of
from rnn_sweep.sweep.space.parameters import bare

if TYPE_CHECKING:
    from optuna import Study

Draw = Callable[[Any], Any]
"""Takes ``optuna.visualization`` or ``optuna.visualization.matplotlib`` to a figure of its kind."""


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
    width: int = 0
    """Pixels below which it could not be read: on a narrower page it scrolls."""


def plots(study: Study, stats: Stats) -> list[Plot]:
    """All figures of a study, in the order in which they are read."""
    if not stats.total:
        return []
    several, search = len(stats.directions) > 1, searched(study)
    return [
        *(_front(study, stats) if several else []),
        *population.plots(stats, Plot),
        *(_history(search, stats, i) for i in range(len(stats.directions))),
        _importances(search, stats),
        *_relations(search, stats),
        *([] if several else [_intermediate(search, stats)]),
        Plot(
            "timeline",
            "Timeline",
            "When each trial ran and how it ended: gaps are slots that had nothing to do.",
            lambda v: v.plot_timeline(study),
            picture=False,
        ),
    ]


def _front(study: Study, stats: Stats) -> Iterator[Plot]:
    caption = "Each point is a trial. The marked ones are better than any other in at least one objective."
    if len(stats.directions) > 3:
        yield Plot("pareto_front", "Pareto front", caption, reason="There are more than three objectives.")
        return
    names = list(stats.objectives)
    draw = _if_complete(stats, lambda v: v.plot_pareto_front(study, target_names=names))
    yield Plot("pareto_front", "Pareto front", caption, draw, NO_TRIAL)


def _history(study: Study, stats: Stats, i: int) -> Plot:
    name = stats.objectives[i]
    single = len(stats.directions) == 1
    return Plot(
        "history" if single else f"history_{i}",
        "Optimisation history" if single else f"Optimisation history of {name}",
        f"{name} of each complete trial, and the best so far; crosses are pruned ones, at their last report.",
        _if_complete(stats, lambda v: v.plot_optimization_history(study, target=_target(stats, i), target_name=name)),
        NO_TRIAL,
    )


def _importances(study: Study, stats: Stats) -> Plot:
    params = list(stats.importances)
    name = stats.objectives[0]

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


def _relations(study: Study, stats: Stats) -> Iterator[Plot]:
    """How the first objective depends on one parameter, on two, on all."""
    name, target = stats.objectives[0], _target(stats, 0)
    complete = [t for t in stats.trials if state_of(t) == "complete"]
    # Optuna draws nothing but warnings of a parameter that had one value.
    keys = [k for k in stats.keys if len({t.params[k] for t in complete if k in t.params}) > 1]
    common = [k for k in keys if all(k in t.params for t in complete)]
    options = {"target": target, "target_name": name}
    none = _nothing_to_relate(len(stats.keys), len(complete), len(keys))
    apart = none if len(keys) < 2 else "Only one parameter is common to all trials."
    yield Plot(
        "parallel_coordinate",
        "Parallel coordinates",
        f"One line a complete trial, coloured by {name}. Parameters that only some trials have are left out.",
        _if_complete(stats, lambda v: v.plot_parallel_coordinate(study, params=common, **options), len(common) > 1),
        apart,
        picture=False,
        width=110 * (len(common) + 1),
    )
    yield Plot(
        "slice",
        "Slices",
        f"{name} against each parameter; the bluer a point, the later its trial.",
        _if_complete(stats, lambda v: v.plot_slice(study, params=keys, **options), bool(keys)),
        none,
        width=190 * len(keys),
    )
    top = [k for k in stats.importances if k in common][:2] or common[:2]
    yield Plot(
        "contour",
        "Contour of the two that matter most",
        f"{name} over {' and '.join(bare(k) for k in top)}, interpolated between the trials.",
        _if_complete(stats, lambda v: v.plot_contour(study, params=top, **options), len(top) == 2),
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


def _intermediate(study: Study, stats: Stats) -> Plot:
    reported = any(t.intermediate_values for t in stats.trials)
    return Plot(
        "intermediate",
        "Learning curves",
        f"{stats.objectives[0]} as it was reported while trials ran; grey curves were pruned, diverged or failed.",
        (lambda v: v.plot_intermediate_values(study)) if reported else None,
        "No trial reported a value on its way.",
    )


NO_TRIAL = "No trial is complete."


def _if_complete(stats: Stats, draw: Draw, possible: bool = True) -> Draw | None:
    return draw if stats.counts.get("complete") and possible else None


def _target(stats: Stats, i: int) -> Callable[[Any], float] | None:
    return None if len(stats.directions) == 1 else lambda trial: float(trial.values[i])
