"""Opening a run, or going on with one."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rnn_sweep.errors import UserError
from rnn_sweep.provenance import source_tags, version_tags
from rnn_sweep.tracking import outbox
from rnn_sweep.tracking.delivery import TAG_LENGTH, Delivery, Record, may_pass
from rnn_sweep.tracking.interface import NullRun, Run
from rnn_sweep.tracking.masks import first_line, mask, plain, unusable
from rnn_sweep.tracking.params import flatten
from rnn_sweep.tracking.run import MlflowRun, ui_hint
from rnn_sweep.tracking.store import open_store

if TYPE_CHECKING:
    from rnn_sweep.config import TrackingConfig

_log = logging.getLogger(__name__)


def start_run(
    config: TrackingConfig,
    *,
    params: Mapping[str, object],
    overrides: Sequence[str],
    output_dir: Path,
    parent_run_id: str | None = None,
    run_id: str | None = None,
    run_name: str | None = None,
    tags: Mapping[str, str] | None = None,
    script: Path | None = None,
    shared: bool = False,
    patient: bool = False,
) -> Run:
    """Open a run and record what it is made from.

    Args:
        config: where to record.
        params: the resolved configuration, nested.
        overrides: what the user typed, one override each.
        output_dir: the run's output folder, recorded as a tag. Where it exists, records wait in it for a store that
            does not answer; else in memory.
        parent_run_id: run under which the UI shows this one.
        run_id: go on with this run instead of opening another.
        run_name: shown in the UI; ``config.run_name`` when None, and one that MLflow invents when both are.
        tags: added to ``config.tags``; of a run that goes on, they replace those that it has.
        script: the user's script, whose repository is recorded; None is the script of this process.
        shared: others may be at work on the run, so that ``rnn-sweep sync`` does not close it for this process's death.
        patient: open the run later where the store does not answer; for one that was checked at the start of a sweep.

    Raises:
        UserError: as :func:`rnn_sweep.tracking.check`, or the store has no run ``run_id`` that could go on.
    """
    if not config.enabled:
        return NullRun()
    tree = plain(params)
    flat = flatten(tree) if isinstance(tree, Mapping) else {}
    shown = [str(plain(override)) for override in overrides]
    if run_id:
        moved = {**(tags or {}), "output_dir": str(output_dir), "resume.overrides": " ".join(shown)[:TAG_LENGTH]}
        first = Record("reopen", {"tags": moved, "run_name": run_name})
    else:
        parent = {"mlflow.parentRunId": parent_run_id} if parent_run_id else {}
        all_tags = {
            **source_tags(script),
            **version_tags(),
            "output_dir": str(output_dir),
            "overrides": " ".join(shown)[:TAG_LENGTH],
            **{key: mask(str(value)) for key, value in {**config.tags, **(tags or {})}.items()},
            **parent,
        }
        now = time.time_ns() // 1_000_000
        first = Record("create", {"tags": all_tags, "run_name": run_name or config.run_name, "start": now})
    run = _open(config, run_id, first, output_dir, flat, patient=patient, shared=shared)
    run.log_params(flat)
    if not run_id:
        run.log_texts({"config.yaml": _yaml(tree), "overrides.yaml": _yaml(shown)})
    return run


def _open(
    config: TrackingConfig,
    run_id: str | None,
    first: Record,
    folder: Path,
    params: Mapping[str, str],
    *,
    patient: bool,
    shared: bool,
) -> MlflowRun:
    """Bring the first record at once, so that the run has an id; later, where one may be patient."""
    delivery = Delivery(config, run_id, folder.absolute(), resumed=run_id is not None)
    waiting = folder if folder.is_dir() else None
    hint = None
    try:
        if patient and outbox.failing():
            raise UserError("the tracking store did not answer just now")
        store = open_store(config)
        delivery.config = replace(config, uri=store.uri)  # from now on, whatever the working folder
        if run_id is not None:
            _check_known(delivery, run_id)
        delivery.bring(first)
        assert delivery.run_id is not None  # noqa: S101 - the record has created it
        experiment = store.client.get_run(delivery.run_id).info.experiment_id
        hint = ui_hint(store, experiment, delivery.run_id)
    except Exception as error:
        if not (patient and may_pass(error)):
            raise error if isinstance(error, UserError) else unusable(config.uri, error) from error
        _log.info("the run is recorded once the store answers: %s", first_line(error, config.uri))
        run = MlflowRun(outbox.Outbox(delivery, waiting, shared=shared), params, hint)
        run.put(first)
        return run
    return MlflowRun(outbox.Outbox(delivery, waiting, shared=shared), params, hint)


def _check_known(delivery: Delivery, run_id: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        known = open_store(delivery.config).client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            shown = mask(delivery.config.uri)
            raise UserError(f"trainer.resume: run {run_id} is not in the store of tracking.uri '{shown}'") from error
        raise
    if known.info.lifecycle_stage == "deleted":
        raise UserError(f"trainer.resume: run {run_id} was deleted (`mlflow runs restore --run-id {run_id}`)")


def _yaml(value: object) -> str:
    import yaml

    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
