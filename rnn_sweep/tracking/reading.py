"""Reading recorded runs back: by id or the beginning of one, with their curves and files."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_sweep.config import TrackingConfig
from rnn_sweep.errors import UserError, near
from rnn_sweep.outcome import SCORES
from rnn_sweep.redaction import mask
from rnn_sweep.tracking.names import ours
from rnn_sweep.tracking.sqlite import absolute
from rnn_sweep.tracking.store import Store, open_store, quiet
from rnn_sweep.tracking.unusable import unusable

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowEntity

CURVES = (
    *(f"{part}/{figure}" for part in ("train", "val") for figure in ("loss", *SCORES)),
    "lr",
    "grad_norm",
)
"""What each epoch records and depends on the configuration alone, unlike its speed."""
SHORT = 8
"""Characters of a run id that are shown where it is one of several."""
_LATEST = 200
"""Runs among which a mistyped id is looked for."""


@dataclass(frozen=True)
class Recorded:
    """A run as it stands in the store."""

    run_id: str
    name: str
    experiment: str
    status: str
    """MLflow's: RUNNING, FINISHED, FAILED, KILLED."""
    state: str
    """Ours (complete, pruned, …), or ``status`` in lower case where there is none."""
    started: datetime.datetime
    seconds: float | None
    """Wall time; None while it runs."""
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    model_id: str | None

    @property
    def parent_id(self) -> str | None:
        """Id of the sweep's run, for a trial."""
        return self.tags.get("mlflow.parentRunId")


def open_existing(uri: str) -> Store:
    """Open a store to read from it: a database that is not there is not created.

    Raises:
        UserError: there is none, or it cannot be used.
    """
    if uri.startswith("sqlite"):
        path = absolute(uri)[1]
        if not path.is_file():
            raise UserError(f"tracking.uri: there is no database '{path}'; run this where runs were recorded")
    return open_store(TrackingConfig(uri=uri))


def find_run(store: Store, given: str) -> Recorded:
    """The run whose id is or begins with ``given``.

    Raises:
        UserError: there is none, or several; the message lists the nearest.
    """
    wanted = given.strip().lower()
    with reading(store), quiet():
        experiments = {e.experiment_id: e.name for e in store.client.search_experiments()}
        found: Sequence[MlflowEntity] = []
        if wanted.isalnum():  # what MLflow's filter takes as it stands
            found = store.client.search_runs(list(experiments), f"attributes.run_id LIKE '{wanted}%'", max_results=12)
        if not found:
            latest = store.client.search_runs(list(experiments), max_results=_LATEST)
            ids = [run.info.run_id[: max(SHORT, min(len(wanted), 32))] for run in latest]
            raise UserError(f"no run's id begins with {given!r}; " + (near(wanted, ids) if ids else "no runs yet"))
        if len(found) > 1 and wanted not in {run.info.run_id for run in found}:
            several = ", ".join(f"{run.info.run_id[:12]} ({run.info.run_name})" for run in found)
            raise UserError(f"several runs' ids begin with {given!r}: {several}")
    return _recorded(found[0], experiments[found[0].info.experiment_id])


def history(store: Store, run: Recorded) -> list[dict[str, float]]:
    """The figures of :data:`CURVES` by epoch, in order."""
    rows: dict[int, dict[str, float]] = {}
    with reading(store):
        for key in CURVES:
            for point in store.client.get_metric_history(run.run_id, key) if key in run.metrics else []:
                rows.setdefault(point.step, {})[key] = point.value
    return [rows[step] for step in sorted(rows)]


def fetch(store: Store, run: Recorded, name: str, folder: Path) -> Path:
    """Copy one of the run's files into ``folder``.

    Raises:
        UserError: the run has no such file.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # three bars for one file of some bytes
    with reading(store), quiet():
        files = [file.path for file in store.client.list_artifacts(run.run_id)]
        if name not in files:
            raise UserError(f"run {run.run_id[:SHORT]} ({run.name}) has no file {name!r}; {near(name, files)}")
        return Path(store.client.download_artifacts(run.run_id, name, str(folder)))


@contextmanager
def reading(store: Store) -> Iterator[None]:
    """Turn MLflow's exceptions into one message."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise unusable(mask(store.uri), error) from error


def _recorded(run: MlflowEntity, experiment: str) -> Recorded:
    info, data = run.info, run.data
    outputs: Any = run.outputs.model_outputs if run.outputs else []
    return Recorded(
        run_id=info.run_id,
        name=info.run_name or "",
        experiment=experiment,
        status=info.status,
        state=data.tags.get("state", info.status.lower()),
        started=datetime.datetime.fromtimestamp(info.start_time / 1000),
        seconds=(info.end_time - info.start_time) / 1000 if info.end_time else None,
        params=dict(data.params),
        metrics={ours(key): value for key, value in data.metrics.items()},
        tags=dict(data.tags),
        model_id=outputs[-1].model_id if outputs else None,
    )
