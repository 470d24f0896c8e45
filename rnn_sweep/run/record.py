"""What a run leaves, whoever trained it: its name and tags in MLflow, ``result.json``, a registered model."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_sweep.files import RESULT_FILE, replacing
from rnn_sweep.outcome import Outcome, State

if TYPE_CHECKING:
    from rnn_sweep.config import TrackingConfig
    from rnn_sweep.tracking import Run as Record

log = logging.getLogger(__name__)


_IN_NAME = 120
"""Characters of the overrides that the name of a grid's run shows."""

_TAGGED = ("study_name", "number", "replicate", "retry_of", "confirms")


def name_of(trial: Mapping[str, Any], overrides: Sequence[str]) -> str | None:
    """What a sweep's run is called: by its trial, or by what is its own in a grid; None for a run of no sweep."""
    if "number" not in trial:
        own = [o for o in overrides if o.partition("=")[0] in trial.get("swept", ())]
        return " ".join(own)[:_IN_NAME] or None
    again = f" (trial {trial['retry_of']} again)" if "retry_of" in trial else ""
    confirms = f" (confirms trial {trial['confirms']})" if "confirms" in trial else ""
    replicate = f" replicate {trial['replicate']}" if "replicate" in trial else ""
    segment = trial.get("segment")
    part = f" member {segment['member']} epoch {segment['until']}" if segment else ""
    return f"trial {trial['number']}{part}{replicate}{confirms}{again}"


def tags_of(trial: Mapping[str, Any]) -> dict[str, str]:
    """Tags that say which trial a run is."""
    segment = trial.get("segment") or {}
    known = {**{key: trial[key] for key in _TAGGED if key in trial}, **segment}
    return {f"trial.{key}": str(value) for key, value in known.items() if key != "keys" and value is not None}


def write_result(folder: Path, outcome: Outcome, overrides: Sequence[str], tags: Mapping[str, str]) -> Path:
    """Write ``result.json``, whole or not at all; the run's tags stand beside the outcome's fields."""
    head = {
        "state": outcome.state.value,
        "cause": outcome.cause,
        "metrics": dict(outcome.metrics),
        "values": list(outcome.values),
        "run_id": outcome.run_id,
    }
    tail = {
        "epochs": outcome.epochs,
        "seconds": outcome.seconds,
        "images_per_second": outcome.images_per_second,
        "overrides": list(overrides),
        "history": [dict(row) for row in outcome.history],
    }
    between = {name: text for name, text in tags.items() if name not in head and name not in tail}
    result = {**head, **between, **tail}
    path = folder / RESULT_FILE
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(result, indent=2) + "\n")
    return path


def fail(record: Record, error: BaseException) -> None:
    """Close a record with the error that ended the run."""
    record.fail(error, "".join(traceback.format_exception(type(error), error, error.__traceback__)))


def register(tracking: TrackingConfig, outcome: Outcome) -> None:
    """Register the model of a run of its own, where asked; a sweep registers its best trial's."""
    if tracking.register is None or outcome.state is not State.COMPLETE or outcome.run_id is None:
        return
    from rnn_sweep.tracking import registry

    version = registry.register(tracking, outcome.run_id, tracking.register)
    if version is not None:
        log.info("model:   models:/%s@%s (version %s)", tracking.register, registry.ALIAS, version)
