"""A sweep's own (parent) run in MLflow: what is added to it once the sweep has ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rnn_sweep.config import TrackingConfig
from rnn_sweep.redaction import scrub
from rnn_sweep.tracking.store import Store, open_store
from rnn_sweep.tracking.writer import Delivery

log = logging.getLogger(__name__)

NOTE = "mlflow.note.content"
"""Tag that the UI shows as the run's description, in Markdown."""


def annotate(
    config: TrackingConfig,
    run_id: str,
    *,
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    files: Sequence[Path],
) -> None:
    """Add results to a run, also to one that an earlier sweep has ended already: the latest metrics and tags hold.

    What the store refuses is said in the log and costs nothing else.
    """
    store, now = open_store(config), time.time_ns() // 1_000_000
    with recording(store, run_id, "what came out"):
        Delivery(config, run_id, Path(), resumed=True).summary(metrics, tags, [str(file) for file in files], now)


@dataclass(frozen=True)
class Child:
    """A run below a sweep's, as it is recorded."""

    run_id: str
    name: str
    state: str
    metrics: Mapping[str, float]


def children(config: TrackingConfig, parent_run_id: str) -> list[Child]:
    """The runs below a parent, the first to start first; none where the store does not answer, which the log says."""
    store, found = open_store(config), []
    with recording(store, parent_run_id, "what its runs brought"):
        experiment = store.client.get_run(parent_run_id).info.experiment_id
        below, token = f"tags.\"mlflow.parentRunId\" = '{parent_run_id}'", None
        while True:
            page = store.client.search_runs([experiment], below, order_by=["attributes.start_time"], page_token=token)
            found += [
                Child(run.info.run_id, run.info.run_name, run.data.tags.get("state", "running"), run.data.metrics)
                for run in page
            ]
            token = page.token
            if not token:
                break
    return found


@dataclass(frozen=True)
class Reused:
    """A trial that did not run, because its configuration had."""

    name: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    run_id: str | None
    """The run whose outcome it has."""


_OF_ONE_RUN = ("mlflow.runName", "mlflow.parentRunId", "mlflow.log-model.history", "output_dir", "overrides", "trial.")
"""How the tags begin that say something of the run that ran and of no other."""


def add_reused(config: TrackingConfig, parent_run_id: str, reused: Reused) -> None:
    """Add a finished run below a sweep's, with parameters and final metrics of the run that it stands for.

    What the store refuses is said in the log and costs nothing else.
    """
    from mlflow.entities import Metric, Param
    from mlflow.exceptions import MlflowException

    store, now = open_store(config), time.time_ns() // 1_000_000
    with recording(store, parent_run_id, reused.name):
        client = store.client
        params, metrics, tags = dict(reused.params), dict(reused.metrics), dict(reused.tags)
        if reused.run_id is not None:
            with suppress(MlflowException):  # of another store, or deleted
                source = client.get_run(reused.run_id).data
                params, metrics = source.params, {**metrics, **source.metrics}
                kept = {key: text for key, text in source.tags.items() if not key.startswith(_OF_ONE_RUN)}
                tags = {**kept, "reused.run_id": reused.run_id, **tags}
        experiment = client.get_run(parent_run_id).info.experiment_id
        tags["mlflow.parentRunId"] = parent_run_id
        made = client.create_run(experiment, start_time=now, tags=tags, run_name=reused.name).info.run_id
        client.log_batch(
            made,
            metrics=[Metric(name, value, now, 0) for name, value in metrics.items()],
            params=[Param(key, text) for key, text in params.items()],
        )
        client.set_terminated(made, "FINISHED")


@contextmanager
def recording(store: Store, run_id: str, what: str) -> Iterator[None]:
    """Log what goes wrong in the store and go on."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        reason = scrub(str(error), store.uri).splitlines()[:1]
        log.error("run %s: %s not recorded: %s", run_id, what, *(reason or [type(error).__name__]))
