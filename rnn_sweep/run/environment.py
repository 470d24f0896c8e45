"""What MLflow's own functions find in the environment of a sweep's job."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rnn_sweep.run.settings import Settings

CONTEXT = "MLFLOW_RUN_CONTEXT"
"""Tags, as JSON, that MLflow gives to every run which ``mlflow.start_run`` opens."""


@contextmanager
def mlflow_environment(settings: Settings) -> Iterator[None]:
    """Let a run that the function opens by ``mlflow.start_run`` be a child of the sweep's run, in its experiment.

    What the function sets itself (``mlflow.set_tracking_uri``, ``set_experiment``, tags) and a run within a run of its
    own are as MLflow has them. Nothing changes where there is no sweep's run.
    """
    parent = (settings.trial or {}).get("parent_run_id")
    if parent is None:
        yield
        return
    before = dict(os.environ)
    changed = _variables(settings, str(parent), before)
    os.environ.update(changed)
    try:
        yield
    finally:
        for name in changed:
            if name in before:
                os.environ[name] = before[name]
            else:
                os.environ.pop(name, None)


def _variables(settings: Settings, parent: str, known: Mapping[str, str]) -> dict[str, str]:
    from rnn_sweep.redaction import complete

    try:
        tags = json.loads(known.get(CONTEXT, "{}"))
    except ValueError:  # MLflow will say so
        tags = {}
    found = {CONTEXT: json.dumps({**tags, "mlflow.parentRunId": parent})}
    tracking = settings.tracking
    places = {"MLFLOW_TRACKING_URI": complete(tracking.uri), "MLFLOW_EXPERIMENT_NAME": tracking.experiment}
    return found | {name: text for name, text in places.items() if not known.get(name)}
