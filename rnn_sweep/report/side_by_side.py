"""Several studies side by side: what is said of them, their convergence as figures, and the page ``compare.html``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnn_sweep.report.convergence import Convergence, Step
from rnn_sweep.report.page import write_html
from rnn_sweep.report.replicates import p_value_of
from rnn_sweep.report.summary import settings
from rnn_sweep.report.templates import number
from rnn_sweep.sweep.replicates import CONFIDENCE
from rnn_sweep.terminal import duration

PAGE = "compare.html"
COLORS = ("#3b76f0", "#e07b39", "#2fa37c", "#c2557a", "#8a6fd1", "#9aa5b5")
"""To be seen on white and on black."""
AXES = {
    "trials": ("Over trials", "trials that ended, pruned and failed ones as well"),
    "epochs": ("Over epochs", "epochs of all trials together"),
    "seconds": ("Over wall time", "in which at least one trial ran; pauses between sweeps do not count"),
}
_UNITS = ((7200, 3600, "hours"), (300, 60, "minutes"), (0, 1, "seconds"))
"""From how many seconds on, how many of them, and their name."""


@dataclass(frozen=True)
class Comparison:
    """Studies that search for the same."""

    studies: Sequence[Convergence]

    @property
    def ranking(self) -> list[Convergence]:
        """Those that have a best configuration, the best first."""
        sign = -1 if self.studies[0].maximize else 1
        known = [(study.best.mean, study) for study in self.studies if study.best is not None]
        return [study for _, study in sorted(known, key=lambda pair: sign * pair[0])]

    @property
    def p_value(self) -> float | None:
        """Of Welch's test between the best configurations of the two best studies; None without seeds in both."""
        best = [study.best for study in self.ranking[:2] if study.best is not None]
        return p_value_of(best[0].values, best[1].values) if len(best) == 2 else None

    @property
    def equal(self) -> dict[str, float]:
        """The most ``trials``, ``epochs`` and ``seconds`` that each study has spent; without what one has not spent."""
        spent = {axis: [getattr(s.steps[-1], axis) if s.steps else 0 for s in self.studies] for axis in AXES}
        return {axis: min(each) for axis, each in spent.items() if min(each)}

    def table(self) -> list[tuple[str, list[str]]]:
        """What is compared, and for each study the cell."""
        studies = self.studies
        rows = [
            (f"best {studies[0].objective}", [_best(s) for s in studies]),
            ("of trial", [", ".join(map(str, s.best.numbers)) if s.best else "" for s in studies]),
            ("trials", [_trials(s) for s in studies]),
            ("epochs", [f"{s.steps[-1].epochs:,}" if s.steps else "0" for s in studies]),
            ("wall time", [duration(s.steps[-1].seconds) if s.steps else "" for s in studies]),
        ]
        return rows + [
            (f"best after {amount(axis, limit)}", [_at(s.at(axis, limit)) for s in studies])
            for axis, limit in self.equal.items()
        ]

    def sentences(self) -> Iterator[str]:
        """Which study is ahead, by how much, how sure that is, and who is ahead at equal cost."""
        ranking = self.ranking
        if not ranking:
            yield "No study has a complete trial within its constraints yet."
            return
        first = ranking[0]
        word = "highest" if first.maximize else "lowest"
        yield f"{first.label} has the {word} {first.objective}, {_best(first)}, with {_with(first)}."
        if len(ranking) > 1:
            yield from self._lead(first, ranking[1])
        for axis, limit in self.equal.items():
            at = [(s.label, step.best) for s in self.studies if (step := s.at(axis, limit)) and step.best is not None]
            if len(at) > 1:
                best = (max if first.maximize else min)(value for _, value in at)
                ahead = [label for label, value in at if value == best]
                who = "all are level" if len(ahead) == len(at) else f"ahead: {' and '.join(ahead)}"
                figures = ", ".join(f"{label} {number(value, 5)}" for label, value in at)
                yield f"After {amount(axis, limit)} each, {who} ({figures})."

    def _lead(self, first: Convergence, second: Convergence) -> Iterator[str]:
        assert first.best is not None and second.best is not None  # noqa: PT018, S101 - they are in the ranking
        if first.best.mean == second.best.mean:
            yield f"{second.label} has found one as good."
            return
        lead = number(abs(first.best.mean - second.best.mean), 3)
        text = f"That is {lead} better than {second.label}, {_best(second)}"
        if self.p_value is None:
            yield f"{text}. Without several seeds in both, a small lead may be chance."
            return
        verdict = "is distinguishable from" if self.p_value < 1 - CONFIDENCE else "cannot be told from"
        yield f"{text}, and {verdict} it (Welch's test over their seeds, p = {self.p_value:.2g})."


def amount(axis: str, limit: float) -> str:
    """Such as ``8 trials`` or ``27.6 s``."""
    if axis == "seconds":
        return duration(limit)
    return f"{limit:,.0f} {axis if limit != 1 else axis.removesuffix('s')}"


def write(comparison: Comparison, folder: Path, sources: Sequence[tuple[str, str]], commands: Sequence[str]) -> Path:
    """Write ``compare.html`` into ``folder``.

    Args:
        comparison: what is shown.
        folder: made where it is not there.
        sources: of each study, where it is and what made it.
        commands: command lines to paste.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {axis: figure(comparison.studies, axis) for axis in AXES if comparison.ranking}
    best = [(s, settings(s.best.params)) for s in comparison.studies if s.best is not None]
    winner = comparison.ranking[0].label if comparison.ranking else None
    page = folder / PAGE
    write_html(
        page,
        "compare.html.j2",
        {axis: tree for axis, tree in drawn.items() if tree["data"]},
        studies=comparison.studies,
        sentences=list(comparison.sentences()),
        table=comparison.table(),
        winner=winner,
        drawn=[axis for axis, tree in drawn.items() if tree["data"]],
        best=best,
        axes=AXES,
        sources=sources,
        commands=commands,
    )
    return page


def figure(studies: Sequence[Convergence], axis: str) -> dict[str, Any]:
    """The best so far of each study over ``trials``, ``epochs`` or ``seconds``, as Plotly's tree."""
    longest = max((getattr(s.steps[-1], axis) for s in studies if s.steps), default=0)
    _, unit, name = next(each for each in _UNITS if longest >= each[0]) if axis == "seconds" else (0, 1, axis)
    traces: list[dict[str, Any]] = []
    for n, study in enumerate(studies):
        steps = _turns(study.steps)
        if not longest or not steps:
            continue
        x, color = [getattr(step, axis) / unit for step in steps], COLORS[n % len(COLORS)]
        common = {"type": "scatter", "mode": "lines", "x": x, "legendgroup": str(n), "name": study.label}
        if any(step.margin for step in steps):
            line = {"width": 0, "shape": "hv", "color": color}
            quiet = {**common, "line": line, "showlegend": False, "hoverinfo": "skip"}
            traces.append({**quiet, "y": [_known(step.best) - (step.margin or 0) for step in steps]})
            upper = [_known(step.best) + (step.margin or 0) for step in steps]
            traces.append({**quiet, "y": upper, "fill": "tonexty", "fillcolor": f"{color}33"})
        line = {"width": 2, "shape": "hv", "color": color}
        traces.append({**common, "y": [step.best for step in steps], "line": line})
    layout = {"xaxis": {"title": {"text": name}}, "yaxis": {"title": {"text": f"best {studies[0].objective}"}}}
    return {"data": traces, "layout": {**layout, "autosize": True, "showlegend": True, "hovermode": "closest"}}


def _turns(steps: Sequence[Step]) -> list[Step]:
    """The steps that a line needs: where the best changes, and the last."""
    found: list[Step] = []
    for step in steps:
        if step.best is not None and (not found or (step.best, step.margin) != (found[-1].best, found[-1].margin)):
            found.append(step)
    return [*found, steps[-1]] if found and found[-1] is not steps[-1] else found


def _known(value: float | None) -> float:
    assert value is not None  # noqa: S101 - steps before the first value are left out
    return value


def _at(step: Step | None) -> str:
    if step is None or step.best is None:
        return "-"
    return number(step.best, 5) + (f" ± {number(step.margin, 2)}" if step.margin is not None else "")


def _best(study: Convergence) -> str:
    if study.best is None:
        return "-"
    if study.best.margin is None:
        return number(study.best.mean, 5)
    return f"{number(study.best.mean, 5)} ± {number(study.best.margin, 2)} ({len(study.best.values)} seeds)"


def _with(study: Convergence) -> str:
    return settings(study.best.params) if study.best is not None and study.best.params else "no parameter"


def _trials(study: Convergence) -> str:
    states = ", ".join(f"{n} {state}" for state, n in study.counts.items())
    return f"{sum(study.counts.values())}" + (f" ({states})" if states else "")
