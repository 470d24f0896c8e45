"""One run in the store: opened, given metrics each epoch, and closed in one of four ways."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rnn_sweep.outcome import State
from rnn_sweep.redaction import scrub
from rnn_sweep.tracking import system
from rnn_sweep.tracking.outbox import Outbox
from rnn_sweep.tracking.plots import drawable
from rnn_sweep.tracking.records import Record
from rnn_sweep.tracking.writer import TAG_LENGTH

if TYPE_CHECKING:
    import torch
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    from rnn_sweep.models import Network
    from rnn_sweep.tracking.views import View

_log = logging.getLogger(__name__)

_STATUS = {
    State.COMPLETE: "FINISHED",
    State.PRUNED: "FINISHED",
    State.DIVERGED: "FINISHED",
    State.INTERRUPTED: "KILLED",
}
PATIENCE_SECONDS = 60.0
"""How long the end of a run waits for a store that answers, but slowly."""


class MlflowRun:
    """A run in an MLflow store. No method but the closing ones waits for the store."""

    def __init__(self, outbox: Outbox, params: Mapping[str, str], ui_hint: str | None) -> None:
        self.ui_hint: str | None = ui_hint
        self._outbox = outbox
        self._params = dict(params)
        self._last_epoch = 0
        self._dataset: dict[str, str] = {}
        self._monitor: SystemMetricsMonitor | None = None

    @property
    def run_id(self) -> str | None:
        """See :attr:`Run.run_id`."""
        return self._outbox.delivery.run_id

    def log_params(self, params: Mapping[str, str]) -> None:
        """Record parameters."""
        self._put("params", params=dict(params))

    def watch_system(self, *, resumed: bool) -> None:
        """Record the machine's metrics until the run is closed; not where the store does not answer yet."""
        delivery = self._outbox.delivery
        if delivery.run_id is not None:
            self._monitor = system.start(delivery.config.uri, delivery.run_id, resumed=resumed)

    def log_texts(self, texts: Mapping[str, str]) -> None:
        """Record texts as files, by file name."""
        self._put("texts", texts=dict(texts))

    def log_dataset(self, dataset: Mapping[str, str]) -> None:
        """See :meth:`Run.log_dataset`."""
        self._dataset = {"dataset_name": dataset["name"], "dataset_digest": dataset["digest"]}
        self._put("dataset", dataset=dict(dataset))

    def log_view(self, view: View) -> None:
        """See :meth:`Run.log_view`."""
        self._put("view", view=asdict(view))

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """See :meth:`Run.log_epoch`."""
        self._last_epoch = max(self._last_epoch, epoch)
        self._put("epoch", epoch=epoch, metrics=_floats(metrics), time=_now())

    def log_file(self, path: Path) -> None:
        """See :meth:`Run.log_file`."""
        self._put("file", path=self._path(path))

    def log_module(self, module: torch.nn.Module, example: object, step: int) -> None:
        """See :meth:`Run.log_module`."""
        import numpy as np

        from rnn_sweep.files import WEIGHTS_FILE
        from rnn_sweep.models import CustomNetwork, RecurrentNetwork
        from rnn_sweep.tracking.module import save_module

        if isinstance(module, RecurrentNetwork | CustomNetwork):
            weights = self._outbox.delivery.folder / WEIGHTS_FILE
            self._put_network(
                module, list(np.asarray(example).shape), step, weights.name if weights.is_file() else None
            )
            return
        folder = self._outbox.delivery.folder / "model"
        save_module(folder, module, example)
        self._put("module", path=self._path(folder), params=self._params, step=step)

    def add(self, metrics: Mapping[str, float], tags: Mapping[str, str], files: Sequence[Path]) -> None:
        """See :meth:`Run.add`."""
        paths = [self._path(file.absolute()) for file in files]
        self._put("summary", metrics=_floats(metrics), tags=dict(tags), files=paths, time=_now())

    def finish(
        self,
        state: State,
        metrics: Mapping[str, float],
        history: Sequence[Mapping[str, float]],
        files: Sequence[Path],
    ) -> None:
        """See :meth:`Run.finish`."""
        ended = state is not State.INTERRUPTED  # else the run goes on: its final metrics are yet to come
        curves = {key for row in history for key in row}
        final = {key: value for key, value in metrics.items() if key not in curves}
        if ended and final:
            best = sorted(key for key in curves & metrics.keys() if "/" in key)
            links = {"curves": best, "best_epoch": metrics.get("best_epoch"), "dataset": self._dataset}
            self._put("final", metrics=_floats(final), step=self._last_epoch, time=_now(), **links)
        if drawable(history):
            title = f"{state.value} after {len(history)} epochs"
            self._put("curves", history=[_floats(row) for row in history], metrics=_floats(metrics), title=title)
        for file in files:
            self.log_file(file)
        self._close(_STATUS[state], {"state": state.value})

    def fail(self, error: BaseException, traceback_text: str) -> None:
        """See :meth:`Run.fail`."""
        uri = self._outbox.delivery.config.uri
        self.log_texts({"traceback.txt": scrub(traceback_text, uri)})
        cause = scrub(f"{type(error).__name__}: {error}", uri)
        self._close("FAILED", {"state": "failed", "error": cause[:TAG_LENGTH]})

    def kill(self) -> None:
        """See :meth:`Run.kill`."""
        self._close("KILLED", {"state": State.INTERRUPTED.value})

    def leave(self) -> None:
        """See :meth:`Run.leave`."""
        self._stop_watching()
        self._put("leave")
        self.flush()

    def flush(self, seconds: float = PATIENCE_SECONDS) -> bool:
        """Wait until the store has everything, unless it does not answer; True when it has."""
        return self._outbox.flush(seconds)

    def put(self, record: Record) -> None:
        """Hand over a record made elsewhere."""
        self._outbox.put(record)

    def _path(self, file: Path) -> str:
        """Within the run's folder where it is in there, so that this may be moved before its records are delivered."""
        folder = self._outbox.delivery.folder
        return str(file.relative_to(folder) if file.is_relative_to(folder) else file.absolute())

    def _put_network(self, model: Network, shape: Sequence[int], step: int, weights: str | None) -> None:
        """One of our own, which is served with labels, and can be read from its weights when this process is gone."""
        content = {"params": self._params, "step": step, "shape": list(shape), "file": weights}
        self.put(Record("model", content, model))

    def _put(self, kind: str, **content: object) -> None:
        self.put(Record(kind, content))

    def _stop_watching(self) -> None:
        if self._monitor is not None:
            self._monitor.finish()  # type: ignore[no-untyped-call]

    def _close(self, status: str, tags: Mapping[str, str]) -> None:
        self._stop_watching()
        self._put("close", status=status, tags=dict(tags), end=_now())
        if not self.flush():
            where = self._outbox.path or "memory"
            _log.info("run %s is not recorded whole; `rnn-sweep sync` delivers %s", self.run_id, where)


def _floats(metrics: Mapping[str, float]) -> dict[str, float]:
    return {key: float(value) for key, value in metrics.items()}


def _now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
