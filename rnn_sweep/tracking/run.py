"""One run in the store: opened, fed each epoch, and closed in one of four ways."""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rnn_sweep.outcome import State
from rnn_sweep.tracking.delivery import TAG_LENGTH, Record
from rnn_sweep.tracking.masks import mask, scrub
from rnn_sweep.tracking.outbox import Outbox
from rnn_sweep.tracking.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rnn_sweep.models import RecurrentNetwork

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

    @property
    def run_id(self) -> str | None:
        """See :attr:`Run.run_id`."""
        return self._outbox.delivery.run_id

    def log_params(self, params: Mapping[str, str]) -> None:
        """Record parameters."""
        self._put("params", params=dict(params))

    def log_texts(self, texts: Mapping[str, str]) -> None:
        """Record texts as files, by file name."""
        self._put("texts", texts=dict(texts))

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """See :meth:`Run.log_epoch`."""
        self._last_epoch = max(self._last_epoch, epoch)
        self._put("epoch", epoch=epoch, metrics=_floats(metrics), time=_now())

    def add(self, metrics: Mapping[str, float], tags: Mapping[str, str], files: Sequence[Path]) -> None:
        """See :meth:`Run.add`."""
        paths = [self._path(file.absolute()) for file in files]
        self._put("summary", metrics=_floats(metrics), tags=dict(tags), files=paths, time=_now())

    def finish(
        self,
        state: State,
        metrics: Mapping[str, float],
        history: Sequence[Mapping[str, float]],
        model: RecurrentNetwork | None,
        example: NDArray[np.float32] | None,
        files: Sequence[Path],
    ) -> None:
        """See :meth:`Run.finish`."""
        ended = state is not State.INTERRUPTED  # else the run goes on: its model and final metrics are yet to come
        if ended and model is not None and example is not None:
            weights = next((file.name for file in files if file.suffix == ".safetensors"), None)
            content = {"params": self._params, "step": self._last_epoch, "shape": list(example.shape), "file": weights}
            self.put(Record("model", content, model))
        curves = {key for row in history for key in row}
        final = {key: value for key, value in metrics.items() if key not in curves}
        if ended and final:
            self._put("final", metrics=_floats(final), step=self._last_epoch, time=_now())
        if history:
            title = f"{state.value} after {len(history)} epochs"
            self._put("curves", history=[_floats(row) for row in history], metrics=_floats(metrics), title=title)
        for file in files:
            self._put("file", path=self._path(file))
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

    def _put(self, kind: str, **content: object) -> None:
        self.put(Record(kind, content))

    def _close(self, status: str, tags: Mapping[str, str]) -> None:
        self._put("close", status=status, tags=dict(tags), end=_now())
        if not self.flush():
            where = self._outbox.path or "memory"
            _log.info("run %s is not recorded whole; `rnn-sweep sync` delivers %s", self.run_id, where)


def _floats(metrics: Mapping[str, float]) -> dict[str, float]:
    return {key: float(value) for key, value in metrics.items()}


def _now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def ui_hint(store: Store, experiment: str, run_id: str) -> str:
    """The command that opens the UI, or the run's address on a server."""
    if store.database is None and store.uri.startswith("http"):
        return f"{mask(store.uri).rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"
    if store.database == Path.cwd() / "mlflow.db" and not any(Path("mlruns").glob("[0-9]*/meta.yaml")):
        return "mlflow ui"  # which opens ./mlflow.db, unless an old ./mlruns store is beside it
    return f"mlflow ui --backend-store-uri {shlex.quote(mask(store.uri))}"
