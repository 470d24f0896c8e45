"""What brings records of a run into its store. Every record may be delivered twice and counts once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_sweep.outcome import State
from rnn_sweep.tracking.picture import save_curves
from rnn_sweep.tracking.store import Store, experiment_id, open_store, quiet

if TYPE_CHECKING:
    import numpy as np
    from mlflow.entities import Metric
    from numpy.typing import NDArray

    from rnn_sweep.config import TrackingConfig
    from rnn_sweep.models import RecurrentNetwork

TAG_LENGTH = 5000
"""Longest tag value, in characters, that every MLflow store takes."""
_PARAMS_PER_BATCH = 100
"""MLflow's limit of parameters in one ``log_batch``."""
METRICS_PER_BATCH = 1000
"""MLflow's limit of metrics in one ``log_batch``."""
_HOPELESS = frozenset(
    {
        *("RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_PARAMETER_VALUE", "INVALID_STATE"),
        *("PERMISSION_DENIED", "FEATURE_DISABLED", "ENDPOINT_NOT_FOUND"),
    }
)
"""Codes with which a store refuses a record for good; all else may pass."""


@dataclass(frozen=True)
class Record:
    """One thing to be recorded.

    Args:
        kind: name of the method of :class:`Delivery` that brings it.
        content: its arguments, in JSON types.
        model: of the kind ``model``: the network, while this process has it.
    """

    kind: str
    content: Mapping[str, Any]
    model: RecurrentNetwork | None = None


class Delivery:
    """The way of one run's records into the store.

    Args:
        config: which store and experiment; opened with the first record.
        run_id: the run; None where the first record creates it.
        folder: of the run, where its files are.
        resumed: whether the run may have some of its records already.
    """

    def __init__(self, config: TrackingConfig, run_id: str | None, folder: Path, *, resumed: bool) -> None:
        self.config, self.run_id, self.folder, self._resumed = config, run_id, folder, resumed
        self._epochs: set[int] | None = None if resumed else set()
        self._kinds: dict[str, Callable[..., None]] = {
            name: getattr(self, name)
            for name in (
                "create",
                "reopen",
                "params",
                "texts",
                "epoch",
                "final",
                "curves",
                "model",
                "file",
                "summary",
                "close",
                "abandon",
            )
        }

    def bring(self, *records: Record) -> None:
        """Deliver one record, or several epochs at once, of at most :data:`METRICS_PER_BATCH` metrics in all.

        Raises:
            Exception: the store did not take them; see :func:`may_pass`.
        """
        first = records[0]
        if self.run_id is None and first.kind != "create":
            return  # the store refused to create the run
        more = {} if first.model is None else {"model": first.model}
        with quiet():
            if len(records) > 1:
                self._log_epochs([record.content for record in records])
            else:
                self._kinds[first.kind](**first.content, **more)

    @property
    def _store(self) -> Store:
        return open_store(self.config)

    @property
    def _id(self) -> str:
        assert self.run_id is not None  # noqa: S101 - see bring()
        return self.run_id

    def create(self, tags: Mapping[str, str], run_name: str | None, start: int) -> None:
        """Create the run; ``start`` in milliseconds since 1970."""
        experiment = experiment_id(self._store, self.config)
        run = self._store.client.create_run(experiment, start_time=start, tags=dict(tags), run_name=run_name)
        self.run_id = run.info.run_id

    def reopen(self, tags: Mapping[str, str], run_name: str | None) -> None:
        """Go on with a run that exists: whose it is now, before it looks as if somebody were at work on it."""
        for key, value in tags.items():
            self._store.client.set_tag(self._id, key, value)
        self._store.client.update_run(self._id, status="RUNNING", name=run_name)

    def params(self, params: Mapping[str, str]) -> None:
        """Record parameters, but for those that the run has: once recorded, one cannot be changed."""
        from mlflow.entities import Param

        known = self._store.client.get_run(self._id).data.params if self._resumed else {}
        entries = [Param(key, value) for key, value in params.items() if key not in known]
        for first in range(0, len(entries), _PARAMS_PER_BATCH):
            self._store.client.log_batch(self._id, params=entries[first : first + _PARAMS_PER_BATCH])

    def texts(self, texts: Mapping[str, str]) -> None:
        """Record texts as files, by file name."""
        with tempfile.TemporaryDirectory() as folder:
            for name, text in texts.items():
                Path(folder, name).write_text(text, encoding="utf-8")
            self._store.client.log_artifacts(self._id, folder)

    def epoch(self, epoch: int, metrics: Mapping[str, float], time: int) -> None:
        """Record an epoch's metrics, unless the run has that epoch."""
        self._log_epochs([{"epoch": epoch, "metrics": metrics, "time": time}])

    def _log_epochs(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Record the epochs that the run does not have: a batch is written whole or not at all."""
        if self._epochs is None:
            key = next(iter(rows[0]["metrics"]), None)
            points = self._store.client.get_metric_history(self._id, key) if key else ()
            self._epochs = {point.step for point in points}
        new = {row["epoch"]: row for row in reversed(rows) if row["epoch"] not in self._epochs}
        entries = [
            entry for epoch in sorted(new) for entry in _entries(new[epoch]["metrics"], epoch, new[epoch]["time"])
        ]
        if entries:
            self._store.client.log_batch(self._id, metrics=entries)
        self._epochs |= set(new)

    def final(self, metrics: Mapping[str, float], step: int, time: int) -> None:
        """Record final metrics, but for those that the run has."""
        run = self._store.client.get_run(self._id)
        models = run.outputs.model_outputs if run.outputs is not None else []
        new = {key: value for key, value in metrics.items() if key not in run.data.metrics}
        if new:
            entries = _entries(new, step, time, models[0].model_id if models else None)
            self._store.client.log_batch(self._id, metrics=entries)

    def curves(self, history: Sequence[Mapping[str, float]], metrics: Mapping[str, float], title: str) -> None:
        """Draw and record the learning curves."""
        with tempfile.TemporaryDirectory() as folder:
            save_curves(Path(folder, "curves.png"), history, metrics, title)
            self._store.client.log_artifacts(self._id, folder)

    def model(
        self,
        params: Mapping[str, str],
        step: int,
        shape: Sequence[int],
        file: str | None,
        model: RecurrentNetwork | None = None,
    ) -> None:
        """Record the network as an MLflow model, unless the run has one; it is read from ``file`` where not given."""
        from rnn_sweep.models import load_weights
        from rnn_sweep.tracking.model import log_model

        run = self._store.client.get_run(self._id)
        if run.outputs is not None and run.outputs.model_outputs:
            return
        if model is None and file is None:
            return
        model = load_weights(self.folder / str(file)) if model is None else model
        example = _zeros(shape)
        log_model(self._store.client, run.info.experiment_id, self._id, model, example, params=params, step=step)

    def file(self, path: str) -> None:
        """Record a file of the run's folder as it is."""
        self._store.client.log_artifact(self._id, str(self.folder / path))

    def summary(self, metrics: Mapping[str, float], tags: Mapping[str, str], files: Sequence[str], time: int) -> None:
        """Record what came out of a sweep, also on a run that has ended: the latest metrics and tags hold."""
        from mlflow.entities import RunTag

        found = [RunTag(key, value[:TAG_LENGTH]) for key, value in tags.items()]
        self._store.client.log_batch(self._id, metrics=_entries(metrics, 0, time), tags=found)
        for file in files:
            folder = "pictures" if file.endswith(".png") else None
            self._store.client.log_artifact(self._id, str(self.folder / file), folder)

    def close(self, status: str, tags: Mapping[str, str], end: int) -> None:
        """Close the run; ``end`` in milliseconds since 1970."""
        from mlflow.entities import RunTag

        self._store.client.log_batch(self._id, tags=[RunTag(key, value) for key, value in tags.items()])
        self._store.client.set_terminated(self._id, status, end_time=end)

    def abandon(self) -> None:
        """Close the run of a process that was killed, where nobody has closed it since."""
        if self._store.client.get_run(self._id).info.status == "RUNNING":
            self._store.client.set_tag(self._id, "state", State.INTERRUPTED.value)
            self._store.client.set_terminated(self._id, "KILLED")


def may_pass(error: Exception) -> bool:
    """Whether a record that met ``error`` should be brought again later."""
    from mlflow.exceptions import MlflowException

    from rnn_sweep.errors import UserError

    if isinstance(error, MlflowException):
        return error.error_code not in _HOPELESS
    if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
        return False
    return isinstance(error, OSError | UserError)  # the HTTP client's own errors; a store that cannot be opened


def _entries(metrics: Mapping[str, float], step: int, time: int, model_id: str | None = None) -> list[Metric]:
    from mlflow.entities import Metric

    return [Metric(key, float(value), time, step, model_id=model_id) for key, value in metrics.items()]


def _zeros(shape: Sequence[int]) -> NDArray[np.float32]:
    import numpy as np

    return np.zeros(tuple(shape), np.float32)
