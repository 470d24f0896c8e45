"""``rnn-sweep``: read, compare, reproduce and hand on what runs and sweeps recorded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rnn_sweep.errors import UserError

if TYPE_CHECKING:
    from optuna import Study
    from rich.console import Console

    from rnn_sweep.tracking.reading import Recorded
    from rnn_sweep.tracking.store import Store

app = typer.Typer(
    name="rnn-sweep",
    help="Read, compare, reproduce and hand on what `python run.py` recorded.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def _study_names(incomplete: str) -> list[str]:
    """For the shell's completion."""
    from rnn_sweep.commands.studies import names

    return [name for name in names() if name.startswith(incomplete)]


StudyName = Annotated[
    str, typer.Argument(metavar="STUDY", help="Name of a study in `studies/`.", autocompletion=_study_names)
]
Storage = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Where the study is, as `hydra.sweeper.storage`; else `studies/STUDY.journal`."),
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="MLflow id of a run, or its first characters.")]
TrackingUri = Annotated[
    str,
    typer.Option(metavar="URI", envvar="MLFLOW_TRACKING_URI", help="MLflow's store, as `tracking.uri`."),
]
MLFLOW_DB = "sqlite:///mlflow.db"


@app.command()
def leaderboard(
    study: StudyName,
    storage: Storage = None,
    top: Annotated[int, typer.Option(min=1, help="Rows.")] = 10,
    csv: Annotated[bool, typer.Option("--csv", help="All trials, as CSV.")] = False,
) -> None:
    """The best trials of a study with their parameters; with several objectives the Pareto front."""
    from rnn_sweep.sweep.results import leaderboard as table
    from rnn_sweep.sweep.results import ranked
    from rnn_sweep.sweep.tally import counts

    found = _study(study, storage)
    if csv:
        found.trials_dataframe().to_csv(sys.stdout, index=False)
        return
    if not ranked(found):
        states = ", ".join(f"{n} {state}" for state, n in counts(found.get_trials(deepcopy=False)).items())
        print(f"study {study} has no complete trial: {states or 'it is empty'}")
        return
    _console().print(table(found, top))


@app.command()
def report(
    study: StudyName,
    storage: Storage = None,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to write into; `reports/STUDY` where none is given.")
    ] = None,
) -> None:
    """Write `report.html`, one file that opens offline, and its figures as PNG; also of a study that still runs."""
    from rnn_sweep.commands.studies import find
    from rnn_sweep.report.write import write
    from rnn_sweep.storage import masked
    from rnn_sweep.sweep.record import command_of

    found, url = find(study, storage)
    folder = output or Path("reports", study)
    try:
        written = write(found, folder, command_of(found), masked(url))
    except OSError as error:
        raise UserError(f"--output must be a folder that can be written, got '{folder}': {error}") from None
    for file in (written.page, *written.pictures):
        print(file)


@app.command()
def show(run: RunId, tracking_uri: TrackingUri = MLFLOW_DB) -> None:
    """One run: state, command, metrics, parameters, model."""
    from rnn_sweep.commands.runs import show as print_run

    print_run(*_run(run, tracking_uri), _console())


@app.command()
def reproduce(
    name: Annotated[
        str,
        typer.Argument(metavar="RUN|STUDY", help="A run, or a study: its best trial.", autocompletion=_study_names),
    ],
    storage: Storage = None,
    trial: Annotated[int | None, typer.Option(min=0, help="Of a study: this trial.")] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="Largest difference that still counts as a match.")] = 1e-3,
    tracking_uri: TrackingUri = MLFLOW_DB,
) -> None:
    """Train a run again from its recorded configuration and seed, and compare every figure with the record.

    On one machine and the CPU a run comes out bit for bit. Exit status 0 is a match, 1 a larger difference.
    """
    from rnn_sweep.commands import reproduce as again

    store, run = again.locate(name, storage, trial, tracking_uri)
    comparison = again.reproduce(store, run)
    again.report(run, comparison, tolerance, _console())
    if not comparison.matches(tolerance):
        raise typer.Exit(1)


@app.command(context_settings={"ignore_unknown_options": True})
def resume(
    study: StudyName,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[OVERRIDE]...", help="Such as `hydra.sweeper.n_trials=50`.")
    ] = None,
    storage: Storage = None,
) -> None:
    """Go on with a study by the command that began it."""
    from rnn_sweep.commands.resume import resume as go_on

    raise typer.Exit(go_on(_study(study, storage), storage, overrides or []))


@app.command()
def export(
    run: RunId,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    tracking_uri: TrackingUri = MLFLOW_DB,
) -> None:
    """Write a run's weights, configuration and model card into a folder."""
    from rnn_sweep.commands.export import export as write

    for file in write(*_run(run, tracking_uri), folder):
        print(file)


@app.command()
def predict(
    run: RunId,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Images, or `.npz` files with an array `images`.")
    ],
    invert: Annotated[bool, typer.Option("--invert", help="For dark strokes on a bright ground.")] = False,
    tracking_uri: TrackingUri = MLFLOW_DB,
) -> None:
    """Label images by a run's weights: one line each, the file, the label, its probability."""
    from rnn_sweep.commands.predict import predict as classify

    for found in classify(*_run(run, tracking_uri), files, invert=invert):
        print(f"{found.source}\t{found.label}\t{found.probability:.4f}")


@app.command()
def sync(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Searched with all that is below it.")] = Path(),
    tracking_uri: Annotated[
        str | None,
        typer.Option(metavar="URI", help="MLflow's store; else the one of each run, where that has no password."),
    ] = None,
) -> None:
    """Deliver what runs could not record, and close the runs of killed processes. Exit status 1: some is left."""
    from rnn_sweep.tracking.sync import sync as deliver

    left = 0
    for found in deliver(folder, tracking_uri):
        print(f"{found.path.parent}: {found.note or 'delivered'}")
        left += bool(found.note)
    if left:
        raise typer.Exit(1)


@app.command()
def doctor(tracking_uri: TrackingUri = MLFLOW_DB) -> None:
    """Versions, tracking store, cached data, and the command that opens the UI. Changes nothing."""
    from rich.text import Text

    from rnn_sweep.commands.doctor import examine

    findings, console = examine(tracking_uri), _console()
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark, style = {True: ("ok", "green"), False: ("NO", "bold red"), None: ("  ", "")}[finding.good]
        console.print(Text.assemble((mark, style), f"  {finding.name:{width}}  {finding.text}"), soft_wrap=True)
    if any(finding.good is False for finding in findings):
        raise typer.Exit(1)


def _study(name: str, storage: str | None) -> Study:
    from rnn_sweep.commands.studies import find

    return find(name, storage)[0]


def _run(given: str, uri: str) -> tuple[Store, Recorded]:
    from rnn_sweep.tracking.reading import find_run, open_existing

    store = open_existing(uri)
    return store, find_run(store, given)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def main() -> None:
    """The console script: a user's mistake is one line on stderr and exit status 2."""
    try:
        app(prog_name="rnn-sweep")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
