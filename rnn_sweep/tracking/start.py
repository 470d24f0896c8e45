"""Opening a run, or going on with one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rnn_sweep.errors import UserError
from rnn_sweep.provenance import source_tags, version_tags
from rnn_sweep.tracking.interface import NullRun, Run
from rnn_sweep.tracking.masks import mask, plain, unusable
from rnn_sweep.tracking.params import flatten
from rnn_sweep.tracking.run import TAG_LENGTH, MlflowRun
from rnn_sweep.tracking.store import Store, experiment_id, open_store

if TYPE_CHECKING:
    from rnn_sweep.config import TrackingConfig


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
) -> Run:
    """Open a run and record what it is made from.

    Args:
        config: where to record.
        params: the resolved configuration, nested.
        overrides: what the user typed, one override each.
        output_dir: the run's output folder, recorded as a tag.
        parent_run_id: run under which the UI shows this one.
        run_id: go on with this run instead of opening another.
        run_name: shown in the UI; ``config.run_name`` when None, and one that MLflow invents when both are.
        tags: added to ``config.tags``; of a run that goes on, they replace those that it has.
        script: the user's script, whose repository is recorded; None is the script of this process.

    Raises:
        UserError: as :func:`rnn_sweep.tracking.check`, or the store has no run ``run_id`` that could go on.
    """
    if not config.enabled:
        return NullRun()
    from mlflow.exceptions import MlflowException

    store = open_store(config)
    tree = plain(params)
    flat = flatten(tree) if isinstance(tree, Mapping) else {}
    shown = [str(plain(override)) for override in overrides]
    if run_id:
        moved = {**(tags or {}), "output_dir": str(output_dir), "resume.overrides": " ".join(shown)[:TAG_LENGTH]}
        return _resume(store, config, run_id, flat, moved, run_name)
    parent = {"mlflow.parentRunId": parent_run_id} if parent_run_id else {}
    all_tags = {
        **source_tags(script),
        **version_tags(),
        "output_dir": str(output_dir),
        "overrides": " ".join(shown)[:TAG_LENGTH],
        **{key: mask(str(value)) for key, value in {**config.tags, **(tags or {})}.items()},
        **parent,
    }
    experiment = experiment_id(store, config)
    try:
        info = store.client.create_run(experiment, tags=all_tags, run_name=run_name or config.run_name).info
    except MlflowException as error:
        raise unusable(config.uri, error) from error
    run = MlflowRun(store, experiment, info.run_id, flat)
    run.log_params(flat)
    run.log_texts({"config.yaml": _yaml(tree), "overrides.yaml": _yaml(shown)})
    return run


def _resume(
    store: Store,
    config: TrackingConfig,
    run_id: str,
    params: Mapping[str, str],
    tags: Mapping[str, str],
    run_name: str | None,
) -> MlflowRun:
    from mlflow.exceptions import MlflowException

    try:
        known = store.client.get_run(run_id)
        if known.info.lifecycle_stage == "deleted":
            raise UserError(f"trainer.resume: run {run_id} was deleted (`mlflow runs restore --run-id {run_id}`)")
        for key, value in tags.items():  # whose it is now, before it looks as if somebody were at work on it
            store.client.set_tag(run_id, key, value)
        store.client.update_run(run_id, status="RUNNING", name=run_name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            shown = mask(config.uri)
            raise UserError(f"trainer.resume: run {run_id} is not in the store of tracking.uri '{shown}'") from error
        raise unusable(config.uri, error) from error
    run = MlflowRun(store, known.info.experiment_id, run_id, params, resumed=True)
    # A parameter cannot be changed once recorded, and trainer.resume itself differs from the first time.
    run.log_params({key: value for key, value in params.items() if key not in known.data.params})
    return run


def _yaml(value: object) -> str:
    import yaml

    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
