"""``rnn-sweep``: watch and steer sweeps; read, compare, reproduce and hand on what was recorded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rnn_sweep.commands import read_cli, steer_cli
from rnn_sweep.commands.options import MLFLOW_DB, RunId, Storage, StudyName, TrackingUri, study_names
from rnn_sweep.errors import UserError

if TYPE_CHECKING:
    from optuna import Study
    from rich.console import Console

    from rnn_sweep.tracking.reading import Recorded
    from rnn_sweep.tracking.store import Store

app = typer.Typer(
    name="rnn-sweep",
    help="Train, sweep, steer, and read, compare, reproduce and hand on what was recorded.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


app.add_typer(steer_cli.app)
app.add_typer(read_cli.app)

_HYDRA = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""Everything after the command is Hydra's, ``--help`` included."""


@app.command(context_settings=_HYDRA)
def train(context: typer.Context) -> None:
    """Train one network, or with `-m` a grid: `rnn-sweep train model=lstm`, as `python run.py` does in a clone."""
    from rnn_sweep.commands.run import start

    start(context.args)


@app.command(context_settings=_HYDRA)
def sweep(context: typer.Context) -> None:
    """Search with Optuna: `rnn-sweep sweep experiment=smoke hydra.sweeper.n_trials=6`."""
    from rnn_sweep.commands.run import start

    start(["-m", "hydra/sweeper=optuna", *context.args])


@app.command()
def init(
    name: Annotated[Path, typer.Argument(metavar="NAME", help="Folder of the new project.")],
    torch: Annotated[bool, typer.Option("--torch", help="A loop of one's own in PyTorch; the default.")] = False,
    lightning: Annotated[bool, typer.Option("--lightning", help="A LightningModule.")] = False,
    sklearn: Annotated[bool, typer.Option("--sklearn", help="An estimator of scikit-learn.")] = False,
) -> None:
    """Begin a project of one's own: a training function, its configuration and a test, which run at once."""
    from rnn_sweep.commands.init import init as write
    from rnn_sweep.commands.init import kind_of

    write(name, kind_of(torch=torch, lightning=lightning, sklearn=sklearn))
    print(f"{name} is ready:\n  cd {name} && python train.py")


@app.command()
def watch(
    study: StudyName,
    storage: Storage = None,
    once: Annotated[bool, typer.Option("--once", help="One picture.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, all trials in it.")] = False,
    rows: Annotated[int | None, typer.Option(min=1, help="Trials; what fits.")] = None,
) -> None:
    """A study as it runs: trials with epoch and objective, the best, rate, ETA, sweepers.

    Keys steer it: pause, continue, stop, add, extend, workers. Ctrl-C ends the view only.
    """
    from rnn_sweep.commands import watch as view

    found = _study(study, storage)
    if as_json:
        print(view.as_json(found, rows))
    else:
        view.watch(found, _console(), once=once, rows=rows)


@app.command()
def show(run: RunId, tracking_uri: TrackingUri = MLFLOW_DB) -> None:
    """One run: state, command, metrics, parameters, model."""
    from rnn_sweep.commands.runs import show as print_run

    print_run(*_run(run, tracking_uri), _console())


@app.command()
def reproduce(
    name: Annotated[
        str,
        typer.Argument(metavar="RUN|STUDY", help="A run, or a study: its best trial.", autocompletion=study_names),
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
    from rnn_sweep.commands import reproduce_own as own

    store, run = again.locate(name, storage, trial, tracking_uri)
    again.check_whole(run)
    comparison = own.reproduce(store, run) if own.is_own(store, run) else again.reproduce(store, run)
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
def repair(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A study's journal or database, MLflow's database, a run's checkpoint, result or outbox, cached data.",
        ),
    ],
    direction: Annotated[
        str | None, typer.Option(metavar="WORD", help="Of a study that has lost it: `minimize` or `maximize`.")
    ] = None,
) -> None:
    """Save what can be read of a damaged file: keeps a copy, drops the rest, and says what was lost."""
    from rnn_sweep.commands.repair import repair as mend

    found = mend(file, direction)
    if found.copy is None:
        print(f"{file}: nothing is wrong with it")
        return
    print(f"{file}: repaired; as it was it is kept as {found.copy}")
    for each in found.lost:
        print(f"  lost: {each}")


@app.command()
def ui(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[RUN|STUDY]", help="The page to open; else all runs.", autocompletion=study_names),
    ] = None,
    tracking_uri: TrackingUri = MLFLOW_DB,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Where the server listens; the first free one from 5000 on.")
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser, or only print the address.")] = True,
) -> None:
    """Open MLflow's UI at a run's curves or a sweep's table. Starts a server where none runs; Ctrl-C ends it."""
    from rnn_sweep.commands.ui import show as open_page

    open_page(name, tracking_uri, port, browser=browser)


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
