"""Writing all of a study's report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rnn_sweep.files import REPORT_FILE
from rnn_sweep.quoting import command_line
from rnn_sweep.report import summary
from rnn_sweep.report.figures import plots
from rnn_sweep.report.page import rows, write_page
from rnn_sweep.report.rendering import save_pictures
from rnn_sweep.report.stats import Stats, gather
from rnn_sweep.report.templates import render
from rnn_sweep.sweep import lineage
from rnn_sweep.sweep.space.parameters import bare
from rnn_sweep.trial import SEGMENT_ATTR

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
    stats: Stats


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
    stats = gather(study)
    found = plots(study, stats)
    commands = _commands(stats, command, kept=storage is not None)
    again = lineage.replay(study, folder, command) if command is not None else None
    if again is not None:
        commands = {"Replay the winner's schedule": again, **commands}
    page = folder / REPORT_FILE
    write_page(page, stats, found, commands, storage)
    note = render(
        "note.md.j2",
        stats=stats,
        sentences=summary.summary(stats),
        columns=[bare(key) for key in stats.keys],
        rows=rows(stats.ranking[:NOTE_ROWS], stats),
        commands=commands,
    )
    return Report(page, save_pictures(found, stats, folder), note, stats)


def _commands(stats: Stats, command: Command | None, *, kept: bool) -> dict[str, str]:
    if command is None:
        return {}
    lines = {}
    if stats.best is not None and SEGMENT_ATTR not in stats.best.user_attrs:
        what = "Train the best trial again" if len(stats.directions) == 1 else "Train the first of the front again"
        lines[what] = command.plain(stats.best.user_attrs.get("overrides", []))
        if stats.best.user_attrs.get("run_id"):
            name = stats.name if kept else stats.best.user_attrs["run_id"]
            lines["Train it again and compare every figure"] = command_line(
                ["rnn-sweep", "reproduce", *(["--"] if name.startswith("-") else []), name]
            )
    if kept:
        lines["Go on with the study"] = command.resume(stats.name)
    if stats.pages.command:
        lines["Start MLflow's UI, which the numbers of trials open"] = stats.pages.command
    return lines
