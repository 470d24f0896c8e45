"""Stale runs: those of killed processes, which nobody else is going to close."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from rnn_sweep.errors import UserError
from rnn_sweep.outcome import State
from rnn_sweep.redaction import first_line
from rnn_sweep.tracking.store import Store, find_experiment, open_store, quiet

if TYPE_CHECKING:
    from mlflow.entities import Run as Entity

    from rnn_sweep.config import TrackingConfig

NUMBER_TAG = "trial.number"
"""Tag of a trial's run: the number that the trial has in its study."""

CONTINUES = "continues"
"""Tag of a run: the id of the run from whose checkpoint it goes on."""

_log = logging.getLogger(__name__)


def close_abandoned(config: TrackingConfig, parent_run_id: str, running: Callable[[], Collection[int]]) -> None:
    """Mark the open runs below a parent as KILLED, but for those of trials that are ``running``.

    Others go on meanwhile, hence the order: a run that is found open and has no trial a moment later is left, or has
    ended in between, which its status then says.

    A store that does not answer is said in the log: the next sweep on the study closes them.
    """
    from mlflow.exceptions import MlflowException

    try:
        with quiet():
            store = open_store(config)
            found = list(_open_runs(store, config, {"mlflow.parentRunId": parent_run_id}))
        alive = {str(number) for number in running()} if found else set()
        for run in found:
            tags = run.data.tags
            if CONTINUES in tags and NUMBER_TAG not in tags:  # a trial is trained further by hand
                continue
            left = tags.get(NUMBER_TAG) not in alive
            if left and store.client.get_run(run.info.run_id).info.status == "RUNNING":
                store.client.set_tag(run.info.run_id, "state", State.INTERRUPTED.value)
                store.client.set_terminated(run.info.run_id, "KILLED")
    except (UserError, MlflowException, OSError) as error:
        _log.warning("runs of trials that died were not closed: %s", first_line(error, config.uri))


def find_open(config: TrackingConfig, tags: Mapping[str, str]) -> str | None:
    """The id of the oldest open run with these tags, or None.

    Raises:
        UserError: as :func:`rnn_sweep.tracking.check`.
    """
    found = list(_open_runs(open_store(config), config, tags)) if config.enabled else []
    return min(found, key=lambda run: run.info.start_time).info.run_id if found else None


def parent_of(config: TrackingConfig, run_id: str | None) -> str | None:
    """The id of the run that a run is below; None where it is below none, is not there, or no store answers."""
    from mlflow.exceptions import MlflowException

    if run_id is None or not config.enabled:
        return None
    try:
        found: str | None = open_store(config).client.get_run(run_id).data.tags.get("mlflow.parentRunId")
    except (UserError, MlflowException, OSError):
        return None
    return found


def _open_runs(store: Store, config: TrackingConfig, tags: Mapping[str, str]) -> Iterator[Entity]:
    experiment = find_experiment(store, config)
    if experiment is None:
        return
    token = None
    while True:
        page = store.client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'", page_token=token)
        # Open runs are few; a name with quotes in it could not be put into the query.
        yield from (run for run in page if tags.items() <= run.data.tags.items())
        token = page.token
        if not token:
            return
