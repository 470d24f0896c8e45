"""``report.html``: one file that opens without a network."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_sweep.report import words
from rnn_sweep.report.facts import Facts
from rnn_sweep.report.figures import Plot, page_figure
from rnn_sweep.report.templates import render
from rnn_sweep.sweep.space import bare
from rnn_sweep.sweep.tally import state_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

PAGE_FILE = "report.html"
ROWS = 20
"""Trials in the page's leaderboard."""


def write_page(path: Path, facts: Facts, plots: Sequence[Plot], commands: dict[str, str], storage: str | None) -> None:
    """Write the page; it appears whole or not at all.

    Args:
        path: the file.
        facts: what it says.
        plots: what it shows.
        commands: command lines to paste, by what they do.
        storage: where the study is, without a password; None where it is nowhere.
    """
    drawn = [(plot, page_figure(plot, facts)) for plot in plots]
    figures = {plot.key: figure for plot, figure in drawn if not isinstance(figure, str)}
    text = render(
        "report.html.j2",
        facts=facts,
        sentences=words.summary(facts),
        counts=words.counts(facts),
        columns=[bare(key) for key in facts.keys],
        rows=[row(trial, facts) for trial in facts.ranking[:ROWS]],
        plots=[(plot, figure if isinstance(figure, str) else None) for plot, figure in drawn],
        figures=_json(figures),
        library=_library() if figures else "",
        commands=commands,
        storage=storage,
        settings=words.settings,
        duration=words.duration,
    )
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def row(trial: FrozenTrial, facts: Facts) -> dict[str, Any]:
    """One line of the leaderboard."""
    seconds = trial.duration.total_seconds() if trial.duration is not None else None
    return {
        "number": trial.number,
        "values": list(trial.values or []),
        "infeasible": any(v > 0 for v in trial.constraints.values()),
        "params": [words.value(trial.params[key]) if key in trial.params else "" for key in facts.keys],
        "steps": len(trial.intermediate_values) or None,
        "seconds": seconds,
        "run_id": str(trial.user_attrs.get("run_id") or ""),
        "state": state_of(trial),
    }


def _json(figures: dict[str, Any]) -> str:
    """The figures as JSON that a ``script`` element can hold: nothing in it can end the element."""
    return json.dumps(figures, separators=(",", ":")).replace("<", "\\u003c")


def _library() -> str:
    """Plotly's script, compressed (as it is, it would fill the 5 MB by itself), in base64."""
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 6, mtime=0)).decode()
