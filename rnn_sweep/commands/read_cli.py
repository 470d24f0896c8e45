"""The commands that read studies: ``leaderboard``, ``report``, ``compare``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rnn_sweep.commands.options import Storage, StudyName, study_names
from rnn_sweep.errors import UserError

app = typer.Typer()


@app.command()
def leaderboard(
    study: StudyName,
    storage: Storage = None,
    top: Annotated[int, typer.Option(min=1, help="Rows.")] = 10,
    csv: Annotated[bool, typer.Option("--csv", help="All trials, as CSV.")] = False,
) -> None:
    """The best trials of a study with their parameters; with several objectives the Pareto front."""
    from rich.console import Console

    from rnn_sweep.commands.studies import find
    from rnn_sweep.sweep.counts import count_states
    from rnn_sweep.sweep.results import print_leaderboard, ranked

    found = find(study, storage)[0]
    if csv:
        found.trials_dataframe().to_csv(sys.stdout, index=False)
        return
    if not ranked(found):
        states = ", ".join(f"{n} {state}" for state, n in count_states(found.get_trials(deepcopy=False)).items())
        print(f"study {study} has no complete trial: {states or 'it is empty'}")
        return
    print_leaderboard(found, Console(highlight=False), top)


@app.command()
def report(
    study: StudyName,
    storage: Storage = None,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to write into; `reports/STUDY` where none is given.")
    ] = None,
) -> None:
    """Write `report.html`, one file that opens offline, and its figures as PNG; also of a study that still runs."""
    from rnn_sweep.commands.studies import find, folder_name
    from rnn_sweep.redaction import masked
    from rnn_sweep.report.write import write
    from rnn_sweep.sweep.study_metadata import command_of

    found, url = find(study, storage)
    folder = output or Path("reports", folder_name(study))
    try:
        written = write(found, folder, command_of(found), masked(url))
    except OSError as error:
        raise UserError(f"--output must be a folder that can be written, got '{folder}': {error}") from None
    for file in (written.page, *written.pictures):
        print(file)


@app.command()
def compare(
    studies: Annotated[
        list[str], typer.Argument(metavar="STUDY STUDY...", help="Two or more.", autocompletion=study_names)
    ],
    storage: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Where the studies are: once for all, or once for each in their order."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the page; `reports/STUDY-vs-STUDY` where none is given."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, and no page.")] = False,
) -> None:
    """Studies beside each other: best over trials, epochs and wall time; a table, and `compare.html`."""
    from rich.console import Console

    from rnn_sweep.commands import compare as beside

    found = beside.open_studies(studies, storage or [])
    comparison = beside.compare(found)
    if as_json:
        print(beside.as_json(found, comparison))
    else:
        beside.show(found, comparison, output, Console(highlight=False))
