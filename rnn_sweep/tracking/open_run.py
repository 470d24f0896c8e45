"""Opening an MLflow run, or resuming one."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rnn_sweep.errors import UserError
from rnn_sweep.files import CONFIG_FILE, OVERRIDES_FILE
from rnn_sweep.provenance import source_tags, version_tags
from rnn_sweep.redaction import first_line, mask, plain
from rnn_sweep.tracking import outbox
from rnn_sweep.tracking.interface import NullRun, Run
from rnn_sweep.tracking.pages import way_in
from rnn_sweep.tracking.params import flatten
from rnn_sweep.tracking.records import Record, may_pass
from rnn_sweep.tracking.run import MlflowRun
from rnn_sweep.tracking.store import open_store
from rnn_sweep.tracking.unusable import unusable
from rnn_sweep.tracking.writer import TAG_LENGTH, Delivery

if TYPE_CHECKING:
    from rnn_sweep.config import TrackingConfig

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What a run is opened with.

    Args:
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
    """

    params: Mapping[str, object]
    overrides: Sequence[str]
    output_dir: Path
    parent_run_id: str | None = None
    run_id: str | None = None
    run_name: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    script: Path | None = None
    shared: bool = False
    patient: bool = False

    def first(self, config: TrackingConfig) -> Record:
        """The record that opens the run, or goes on with it."""
        typed = " ".join(self.shown())[:TAG_LENGTH]
        if self.run_id:
            moved = {**self.tags, "output_dir": str(self.output_dir), "resume.overrides": typed}
            return Record("reopen", {"tags": moved, "run_name": self.run_name})
        tags = {
            **source_tags(self.script),
            **version_tags(),
            "output_dir": str(self.output_dir),
            "overrides": typed,
            **{key: mask(str(value)) for key, value in {**config.tags, **self.tags}.items()},
            **({"mlflow.parentRunId": self.parent_run_id} if self.parent_run_id else {}),
        }
        now = time.time_ns() // 1_000_000
        return Record("create", {"tags": tags, "run_name": self.run_name or config.run_name, "start": now})

    def shown(self) -> list[str]:
        """The overrides without credentials."""
        return [str(plain(override)) for override in self.overrides]


def start_run(config: TrackingConfig, opening: Opening) -> Run:
    """Open a run where ``config`` says, and record what it is made from.

    Raises:
        UserError: as :func:`rnn_sweep.tracking.check`, or the store has no run ``run_id`` that could go on.
    """
    if not config.enabled:
        return NullRun()
    tree = plain(opening.params)
    flat = flatten(tree) if isinstance(tree, Mapping) else {}
    run = _open(config, opening, flat)
    run.log_params(flat)
    if config.system_metrics and "sweep" not in opening.tags:
        run.watch_system(resumed=opening.run_id is not None)
    if not opening.run_id:
        run.log_texts({CONFIG_FILE: _yaml(tree), OVERRIDES_FILE: _yaml(opening.shown())})
    return run


def _open(config: TrackingConfig, opening: Opening, params: Mapping[str, str]) -> MlflowRun:
    """Bring the first record at once, so that the run has an id; later, where one may be patient."""
    folder, run_id, first = opening.output_dir, opening.run_id, opening.first(config)
    delivery = Delivery(config, run_id, folder.absolute(), resumed=run_id is not None)
    waiting = folder if folder.is_dir() else None
    hint = None
    try:
        if opening.patient and outbox.failing():
            raise UserError("the tracking store did not answer just now")
        store = open_store(config)
        delivery.config = replace(config, uri=store.uri)  # from now on, whatever the working folder
        if run_id is not None:
            _check_known(delivery, run_id)
        delivery.bring(first)
        assert delivery.run_id is not None  # noqa: S101 - the record has created it
        experiment = store.client.get_run(delivery.run_id).info.experiment_id
        hint = way_in(store, experiment, delivery.run_id, sweep="sweep" in first.content["tags"])
    except Exception as error:
        if not (opening.patient and may_pass(error)):
            raise error if isinstance(error, UserError) else unusable(config.uri, error) from error
        _log.info("the run is recorded once the store answers: %s", first_line(error, config.uri))
        run = MlflowRun(outbox.Outbox(delivery, waiting, shared=opening.shared), params, hint)
        run.put(first)
        return run
    return MlflowRun(outbox.Outbox(delivery, waiting, shared=opening.shared), params, hint)


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
