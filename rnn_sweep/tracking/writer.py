"""The writer of a run's records into its store: idempotent, each may arrive twice and counts once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_sweep.files import CURVES_FILE
from rnn_sweep.outcome import State
from rnn_sweep.tracking.names import single
from rnn_sweep.tracking.plots import save_curves
from rnn_sweep.tracking.records import KINDS, Record
from rnn_sweep.tracking.store import Store, experiment_id, open_store, quiet
from rnn_sweep.tracking.views import TAG, View, encoded

if TYPE_CHECKING:
    import numpy as np
    from mlflow.entities import Metric
    from mlflow.entities import Run as Entity
    from numpy.typing import NDArray

    from rnn_sweep.config import TrackingConfig
    from rnn_sweep.models import Network

CONTEXT = "training, validation, test"
"""What a run uses its dataset for: one is split in three."""
TAG_LENGTH = 5000
"""Longest tag value, in characters, that every MLflow store takes."""
_PARAMS_PER_BATCH = 100
"""MLflow's limit of parameters in one ``log_batch``."""


class Delivery:
    """The way of one run's records into the store.

    Args:
        config: which store and experiment; opened with the first record.
        run_id: the run; None where the first record creates it.
        folder: of the run, where its files are.
        resumed: whether the run may have some of its records already.
        late: whether the store may have been asked to create the run before, and its answer was lost.
    """

    def __init__(
        self, config: TrackingConfig, run_id: str | None, folder: Path, *, resumed: bool, late: bool = False
    ) -> None:
        self.config, self.run_id, self.folder, self._resumed, self._late = config, run_id, folder, resumed, late
        self._epochs: set[int] | None = None if resumed else set()
        self._kinds: dict[str, Callable[..., None]] = {name: getattr(self, name) for name in KINDS}

    def bring(self, *records: Record) -> None:
        """Deliver what :func:`rnn_sweep.tracking.records.leading` has found: one record, or several epochs at once.

        Raises:
            Exception: the store did not take them; see :func:`rnn_sweep.tracking.records.may_pass`.
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
        before, self._late = self._late, True
        run = self._created(experiment, tags, start) if before else None
        run = run or self._store.client.create_run(experiment, start_time=start, tags=dict(tags), run_name=run_name)
        self.run_id = run.info.run_id

    def _created(self, experiment: str, tags: Mapping[str, str], start: int) -> Entity | None:
        """The run that an earlier request has created, whose answer was lost with its server."""
        found = self._store.client.search_runs([experiment], f"attributes.start_time = {start}")
        return next((run for run in found if run.data.tags.get("output_dir") == tags.get("output_dir")), None)

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

    def dataset(self, dataset: Mapping[str, str]) -> None:
        """Record the run's data as its input.

        A store that meets the same data for the first time in two runs at once refuses the later ones of them
        (``BAD_REQUEST``: the data are there), and finds what the first has recorded when it is asked again.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

        inputs = [DatasetInput(Dataset(**dataset), [InputTag("mlflow.data.context", CONTEXT)])]
        try:
            self._store.client.log_inputs(self._id, inputs)
        except MlflowException as error:
            if error.error_code != "BAD_REQUEST":
                raise
            self._store.client.log_inputs(self._id, inputs)

    def view(self, view: Mapping[str, Any]) -> None:
        """Save a view of the runs below this one, unless it does not fit into a tag."""
        value, run = encoded(View(**view), self._id), self._store.client.get_run(self._id)
        if len(value) <= TAG_LENGTH:
            self._store.client.set_experiment_tag(run.info.experiment_id, f"{TAG}{self._id}", value)

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

    def final(
        self,
        metrics: Mapping[str, float],
        step: int,
        time: int,
        curves: Sequence[str] = (),
        best_epoch: float | None = None,
        dataset: Mapping[str, str] | None = None,
    ) -> None:
        """Record final metrics, but for those that the run has; link them to the run's model and data.

        Args:
            metrics: by name.
            step: the last epoch.
            time: milliseconds since 1970.
            curves: metrics of each epoch that the model is to have from its own, ``best_epoch``.
            best_epoch: the epoch of the model's weights.
            dataset: ``dataset_name`` and ``dataset_digest``.
        """
        from mlflow.entities import Metric

        run = self._store.client.get_run(self._id)
        models = run.outputs.model_outputs if run.outputs is not None else []
        links = {"model_id": models[0].model_id, **(dataset or {})} if models else {}
        named = {single(key): value for key, value in metrics.items()}
        entries = [Metric(k, v, time, step, **links) for k, v in named.items() if k not in run.data.metrics]
        if entries and models and best_epoch is not None:  # the very points that the run has: they are not doubled
            points = [point for key in curves for point in self._store.client.get_metric_history(self._id, key)]
            entries += [Metric(p.key, p.value, p.timestamp, p.step, **links) for p in points if p.step == best_epoch]
        if entries:
            self._store.client.log_batch(self._id, metrics=entries)

    def curves(self, history: Sequence[Mapping[str, float]], metrics: Mapping[str, float], title: str) -> None:
        """Draw and record the learning curves."""
        with tempfile.TemporaryDirectory() as folder:
            save_curves(Path(folder, CURVES_FILE), history, metrics, title)
            self._store.client.log_artifacts(self._id, folder)

    def model(
        self,
        params: Mapping[str, str],
        step: int,
        shape: Sequence[int],
        file: str | None,
        model: Network | None = None,
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
        log_model(self._store.client, run, model, example, params=params, step=step)

    def module(self, path: str, params: Mapping[str, str], step: int) -> None:
        """Record a saved MLflow model of the run's folder as the run's, unless the run has one."""
        from rnn_sweep.tracking.module import log_saved

        run = self._store.client.get_run(self._id)
        if run.outputs is None or not run.outputs.model_outputs:
            log_saved(self._store.client, run.info.experiment_id, self._id, self.folder / path, params, step)

    def file(self, path: str) -> None:
        """Record a file or folder as it is; a relative one is in the run's folder."""
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

    def leave(self) -> None:
        """Leave the run to whoever goes on with it."""

    def abandon(self) -> None:
        """Close the run of a process that was killed, where nobody has closed it since."""
        if self._store.client.get_run(self._id).info.status == "RUNNING":
            self._store.client.set_tag(self._id, "state", State.INTERRUPTED.value)
            self._store.client.set_terminated(self._id, "KILLED")


def _entries(metrics: Mapping[str, float], step: int, time: int) -> list[Metric]:
    from mlflow.entities import Metric

    return [Metric(key, float(value), time, step) for key, value in metrics.items()]


def _zeros(shape: Sequence[int]) -> NDArray[np.float32]:
    import numpy as np

    return np.zeros(tuple(shape), np.float32)
