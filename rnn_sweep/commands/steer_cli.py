"""The commands that steer a study: ``pause``, ``continue``, ``stop``, ``add``, ``extend``, ``workers``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rnn_sweep.commands.options import Storage, StudyName

if TYPE_CHECKING:
    from optuna import Study

app = typer.Typer()


@app.command()
def pause(study: StudyName, storage: Storage = None) -> None:
    """Pause a study: running trials leave a checkpoint after their epoch; `continue` goes on with them."""
    from rnn_sweep.commands import steer

    print(steer.pause(_study(study, storage)))


@app.command(name="continue")
def go_on(study: StudyName, storage: Storage = None) -> None:
    """Let a paused study go on."""
    from rnn_sweep.commands import steer

    print(steer.go_on(_study(study, storage)))


@app.command()
def stop(
    study: StudyName,
    trial: Annotated[int, typer.Argument(metavar="TRIAL", min=0, help="Its number.")],
    storage: Storage = None,
) -> None:
    """End one trial as pruned: after its current epoch, or before it begins."""
    from rnn_sweep.commands import steer

    print(steer.stop(_study(study, storage), trial))


@app.command(context_settings={"ignore_unknown_options": True})
def add(
    study: StudyName,
    point: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", help="What is left out is sampled.")],
    storage: Storage = None,
) -> None:
    """Enqueue a point of the search space, to run next: `rnn-sweep add STUDY optimizer.lr=0.01`."""
    from rnn_sweep.commands import steer

    print(steer.add(_study(study, storage), point))


@app.command(context_settings={"ignore_unknown_options": True})
def extend(
    study: StudyName,
    what: Annotated[
        list[str], typer.Argument(metavar="N|OVERRIDE...", help="Trials in addition; with `--top` what is to change.")
    ],
    storage: Storage = None,
    top: Annotated[int | None, typer.Option(min=1, metavar="K", help="Train the K best trials further.")] = None,
) -> None:
    """Add N trials to a study's budget; with `--top 3 trainer.epochs=30` train its best trials further, as new runs."""
    from rnn_sweep.commands import further, steer
    from rnn_sweep.errors import UserError

    found = _study(study, storage)
    if top is not None:
        raise typer.Exit(further.extend(found, top, what))
    if len(what) != 1 or not what[0].isdecimal():
        raise UserError(f"extend takes a number of trials, or --top K and overrides, got {' '.join(what)!r}")
    print(steer.extend(found, int(what[0])))


@app.command()
def workers(
    study: StudyName,
    jobs: Annotated[int, typer.Argument(metavar="N", help="Trials at a time.")],
    storage: Storage = None,
    sweeper: Annotated[
        str | None, typer.Option(metavar="ID", help="One sweeper, as `watch` names it; else each that lives.")
    ] = None,
) -> None:
    """Set how many trials run at a time; those above that leave a checkpoint and run again later."""
    from rnn_sweep.commands import steer

    print(steer.set_workers(_study(study, storage), jobs, sweeper))


def _study(name: str, storage: str | None) -> Study:
    from rnn_sweep.commands.studies import find

    return find(name, storage)[0]
