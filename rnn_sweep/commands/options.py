"""Arguments and options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

MLFLOW_DB = "sqlite:///mlflow.db"


def study_names(incomplete: str) -> list[str]:
    """For the shell's completion."""
    from rnn_sweep.commands.studies import names

    return [name for name in names() if name.startswith(incomplete)]


StudyName = Annotated[
    str, typer.Argument(metavar="STUDY", help="Name of a study in `studies/`.", autocompletion=study_names)
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
