"""``report.html``: one file that opens without a network."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_sweep import terminal
from rnn_sweep.files import replacing
from rnn_sweep.report import summary
from rnn_sweep.report.figures import Plot
from rnn_sweep.report.rendering import last_report, page_figure, templates
from rnn_sweep.report.stats import Stats
from rnn_sweep.report.templates import render
from rnn_sweep.sweep.constraints import feasible, required
from rnn_sweep.sweep.counts import state_of
from rnn_sweep.sweep.space.parameters import bare
from rnn_sweep.sweep.study import REUSED_ATTR

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

ROWS = 20
"""Trials in the page's leaderboard."""
ALL_ROWS = 2000
"""Trials in its list of all, the latest; more would make the file too large to open on a telephone."""


def write_page(path: Path, stats: Stats, plots: Sequence[Plot], commands: dict[str, str], storage: str | None) -> None:
    """Write the page; it appears whole or not at all.

    Args:
        path: the file.
        stats: what it says.
        plots: what it shows.
        commands: command lines to paste, by what they do.
        storage: where the study is, without a password; None where it is nowhere.
    """
    drawn = [(plot, page_figure(plot, stats)) for plot in plots]
    write_html(
        path,
        "report.html.j2",
        {plot.key: figure for plot, figure in drawn if not isinstance(figure, str)},
        stats=stats,
        sentences=summary.summary(stats),
        counts=summary.counts(stats),
        columns=[bare(key) for key in stats.keys],
        rows=rows(stats.ranking[:ROWS], stats),
        trials=rows(stats.trials[-ALL_ROWS:], stats),
        plots=[(plot, figure if isinstance(figure, str) else None) for plot, figure in drawn],
        commands=commands,
        storage=storage,
        settings=summary.settings,
        duration=terminal.duration,
    )


def write_html(path: Path, template: str, figures: Mapping[str, Any], **values: Any) -> None:
    """Write a page that opens without a network; it appears whole or not at all.

    Args:
        path: the file.
        template: one of ``pages/`` over ``base.html.j2``.
        figures: Plotly's trees (``data``, ``layout``) by key; each is drawn into the element ``plot-<key>``.
        values: for the template.
    """
    embedded = {"plots": figures, "templates": templates()} if figures else {}
    text = render(template, figures=_json(embedded), library=_library() if figures else "", **values)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def rows(trials: Sequence[FrozenTrial], stats: Stats) -> list[dict[str, Any]]:
    """Trials as the lines of a table."""
    constraints = required(stats.ranking)
    return [_row(trial, stats, constraints) for trial in trials]


def _row(trial: FrozenTrial, stats: Stats, constraints: frozenset[str]) -> dict[str, Any]:
    seconds = trial.duration.total_seconds() if trial.duration is not None else None
    run_id = str(trial.user_attrs.get("run_id") or "")
    return {
        "number": trial.number,
        "reused": REUSED_ATTR in trial.user_attrs,
        "values": list(trial.values or []),
        "infeasible": not feasible(trial, constraints),
        "params": [summary.value(trial.params[key]) if key in trial.params else "" for key in stats.keys],
        "steps": len(trial.intermediate_values) or None,
        "seconds": seconds,
        "run_id": run_id,
        "page": stats.pages.run(run_id),
        "state": state_of(trial),
        "cause": str(trial.user_attrs.get("cause") or ""),
        "last": last_report(trial),
    }


def _json(figures: dict[str, Any]) -> str:
    """The figures as JSON that a ``script`` element can hold: nothing in it can end the element."""
    return json.dumps(figures, separators=(",", ":")).replace("<", "\\u003c")


def _library() -> str:
    """Plotly's script, compressed (as it is, it would fill the 5 MB by itself), in base64."""
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 6, mtime=0)).decode()
