"""One run in the store: opened, fed each epoch, and closed in one of four ways."""

from __future__ import annotations

import logging
import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rnn_sweep.outcome import State
from rnn_sweep.tracking.masks import mask, scrub
from rnn_sweep.tracking.picture import save_curves
from rnn_sweep.tracking.store import Store

if TYPE_CHECKING:
    import numpy as np
    from mlflow.entities import Metric, RunTag
    from numpy.typing import NDArray

    from rnn_sweep.models import RecurrentClassifier


_log = logging.getLogger(__name__)

_STATUS = {
    State.COMPLETE: "FINISHED",
    State.PRUNED: "FINISHED",
    State.DIVERGED: "FINISHED",
    State.INTERRUPTED: "KILLED",
}
_PARAMS_PER_BATCH = 100
"""MLflow's limit of parameters in one ``log_batch``."""
TAG_LENGTH = 5000
"""Longest tag value, in characters, that every MLflow store takes."""


class MlflowRun:
    """A run in an MLflow store."""

    def __init__(
        self, store: Store, experiment: str, run_id: str, params: Mapping[str, str], *, resumed: bool = False
    ) -> None:
        self.run_id: str | None = run_id
        self.ui_hint: str | None = _ui_hint(store, experiment, run_id)
        self._id = run_id
        self._store = store
        self._client = store.client
        self._experiment = experiment
        self._params = dict(params)
        self._resumed = resumed
        self._done: set[int] | None = None if resumed else set()
        self._pending: list[Metric] = []
        self._last_epoch = 0

    def log_params(self, params: Mapping[str, str]) -> None:
        """Record parameters, in as few calls as MLflow's limit allows."""
        from mlflow.entities import Param

        entries = [Param(key, value) for key, value in params.items()]
        with self._recording("parameters"):
            for first in range(0, len(entries), _PARAMS_PER_BATCH):
                self._client.log_batch(self._id, params=entries[first : first + _PARAMS_PER_BATCH])

    def log_texts(self, texts: Mapping[str, str]) -> None:
        """Record texts as files, by file name."""
        with self._recording("files"), tempfile.TemporaryDirectory() as folder:
            for name, text in texts.items():
                Path(folder, name).write_text(text, encoding="utf-8")
            self._client.log_artifacts(self._id, folder)

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """See :meth:`Run.log_epoch`."""
        self._last_epoch = max(self._last_epoch, epoch)
        with self._recording(f"epoch {epoch}"):
            if self._done is None:
                self._done = self._recorded_epochs(metrics)
            if epoch in self._done:
                return
            self._done.add(epoch)
            self._pending += _entries(metrics, epoch)
            self._flush()

    def finish(
        self,
        state: State,
        metrics: Mapping[str, float],
        history: Sequence[Mapping[str, float]],
        model: RecurrentClassifier | None,
        example: NDArray[np.float32] | None,
        files: Sequence[Path],
    ) -> None:
        """See :meth:`Run.finish`."""
        model_id = None
        with self._recording("model"):
            if model is not None and example is not None and not self._has_model():
                model_id = self._log_model(model, example)
        with self._recording("results"):
            curves = {key for row in history for key in row}
            final = {key: value for key, value in metrics.items() if key not in curves | self._recorded_metrics()}
            self._pending += _entries(final, self._last_epoch, model_id)
            self._flush()
        with self._recording("files"), tempfile.TemporaryDirectory() as folder:
            if history:
                title = f"{state.value} after {len(history)} epochs"
                save_curves(Path(folder, "curves.png"), history, metrics, title)
                self._client.log_artifacts(self._id, folder)
            for file in files:
                self._client.log_artifact(self._id, str(file))
        self._close(_STATUS[state], {"state": state.value})

    def fail(self, error: BaseException, traceback_text: str) -> None:
        """See :meth:`Run.fail`."""
        self.log_texts({"traceback.txt": scrub(traceback_text, self._store.uri)})
        cause = scrub(f"{type(error).__name__}: {error}", self._store.uri)
        self._close("FAILED", {"state": "failed", "error": cause[:TAG_LENGTH]})

    def kill(self) -> None:
        """See :meth:`Run.kill`."""
        self._close("KILLED", {"state": State.INTERRUPTED.value})

    def _log_model(self, model: RecurrentClassifier, example: NDArray[np.float32]) -> str:
        from rnn_sweep.tracking.model import log_model

        return log_model(
            self._client,
            self._experiment,
            self._id,
            model,
            example,
            params=self._params,
            step=self._last_epoch,
        )

    def _close(self, status: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        with self._recording("end"):
            self._flush(tags=[RunTag(key, value) for key, value in tags.items()])
        with self._recording("status"):
            self._client.set_terminated(self._id, status)

    def _flush(self, tags: Sequence[RunTag] = ()) -> None:
        if self._pending or tags:
            self._client.log_batch(self._id, metrics=self._pending, tags=tags)
            self._pending = []

    def _recorded_epochs(self, metrics: Mapping[str, float]) -> set[int]:
        """Epochs in the store; a batch is written whole or not at all, so one metric speaks for all."""
        key = next(iter(metrics), None)
        return {point.step for point in self._client.get_metric_history(self._id, key)} if key else set()

    def _recorded_metrics(self) -> set[str]:
        return set(self._client.get_run(self._id).data.metrics) if self._resumed else set()

    def _has_model(self) -> bool:
        """Whether a resumed run was killed so late that its model is there already."""
        outputs = self._client.get_run(self._id).outputs if self._resumed else None
        return outputs is not None and bool(outputs.model_outputs)

    @contextmanager
    def _recording(self, what: str) -> Iterator[None]:
        """Log what goes wrong in the store and go on: the results are in the output folder as well."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError) as error:  # OSError: files, and the HTTP client's own errors
            reason = scrub(str(error), self._store.uri).splitlines()[:1]
            _log.error("run %s: %s not recorded: %s", self._id, what, *(reason or [type(error).__name__]))


def _entries(metrics: Mapping[str, float], step: int, model_id: str | None = None) -> list[Metric]:
    from mlflow.entities import Metric

    now = time.time_ns() // 1_000_000
    return [Metric(key, float(value), now, step, model_id=model_id) for key, value in metrics.items()]


def _ui_hint(store: Store, experiment: str, run_id: str) -> str:
    if store.database is None and store.uri.startswith("http"):
        return f"{mask(store.uri).rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"
    if store.database == Path.cwd() / "mlflow.db" and not any(Path("mlruns").glob("[0-9]*/meta.yaml")):
        return "mlflow ui"  # which opens ./mlflow.db, unless an old ./mlruns store is beside it
    return f"mlflow ui --backend-store-uri {shlex.quote(mask(store.uri))}"
