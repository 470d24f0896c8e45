"""What is added to a sweep's parent run once the sweep has ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rnn_sweep.config import TrackingConfig
from rnn_sweep.tracking.delivery import Delivery
from rnn_sweep.tracking.masks import scrub
from rnn_sweep.tracking.store import Store, open_store

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


@contextmanager
def recording(store: Store, run_id: str, what: str) -> Iterator[None]:
    """Log what goes wrong in the store and go on."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        reason = scrub(str(error), store.uri).splitlines()[:1]
        log.error("run %s: %s not recorded: %s", run_id, what, *(reason or [type(error).__name__]))
