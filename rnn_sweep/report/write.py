"""All of a study's report at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rnn_sweep.report import words
from rnn_sweep.report.facts import Facts, gather
from rnn_sweep.report.figures import plots, save_pictures
from rnn_sweep.report.page import PAGE_FILE, row, write_page
from rnn_sweep.report.templates import render
from rnn_sweep.sweep.space import bare

if TYPE_CHECKING:
    from optuna import Study

    from rnn_sweep.sweep.results import Command

NOTE_ROWS = 5


@dataclass(frozen=True)
class Report:
    """What was written."""

    page: Path
    pictures: Sequence[Path]
    note: str
    """The summary in Markdown, for MLflow's description of the parent run."""
    facts: Facts


def write(study: Study, folder: Path, command: Command | None, storage: str | None) -> Report:
    """Write ``report.html`` and its PNG files into ``folder``, whatever state the study is in.

    Args:
        study: what is told.
        folder: made where it is not there.
        command: how the sweep was started; None for a study of another program.
        storage: where the study is, without a password; None where nothing but this report keeps it.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts = gather(study)
    found = plots(study, facts)
    commands = _commands(facts, command, kept=storage is not None)
    page = folder / PAGE_FILE
    write_page(page, facts, found, commands, storage)
    note = render(
        "note.md.j2",
        facts=facts,
        sentences=words.summary(facts),
        columns=[bare(key) for key in facts.keys],
        rows=[row(trial, facts) for trial in facts.ranking[:NOTE_ROWS]],
        commands=commands,
    )
    return Report(page, save_pictures(found, facts, folder), note, facts)


def _commands(facts: Facts, command: Command | None, *, kept: bool) -> dict[str, str]:
    if command is None:
        return {}
    lines = {}
    if facts.best is not None:
        what = "Train the best trial again" if len(facts.directions) == 1 else "Train the first of the front again"
        lines[what] = command.plain(facts.best.user_attrs.get("overrides", []))
        if facts.best.user_attrs.get("run_id"):
            name = facts.name if kept else facts.best.user_attrs["run_id"]
            lines["Train it again and compare every figure"] = f"rnn-sweep reproduce {name}"
    if kept:
        lines["Go on with the study"] = command.resume(facts.name)
    return lines
