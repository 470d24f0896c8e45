"""The MLflow run that a sweep's trials are children of: opened before the first, closed after the last."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from rnn_sweep.config import Config, parse
from rnn_sweep.outcome import State

if TYPE_CHECKING:
    from rnn_sweep.config import TrackingConfig
    from rnn_sweep.tracking import Run

_open: dict[str, tuple[Run, TrackingConfig]] = {}
"""Parent runs of this process by id: the object stays here, because what hangs on a task function gets pickled."""


def begin(cfg: DictConfig, name: str, storage: str | None, known: str | None) -> str | None:
    """Open the parent run, or go on with the one that an earlier sweeper of the same study had.

    Args:
        cfg: the application's defaults as composed.
        name: the study's name, and the run's.
        storage: where the study is, without a password; None for a grid.
        known: id of the run to go on with.

    Returns:
        The run's id, or None when tracking is off.

    Raises:
        UserError: the configuration or the tracking store is not usable.
    """
    from rnn_sweep import tracking

    config = _parse(cfg)
    tracking.check(config.tracking)
    study = {"name": name} | ({"storage": storage} if storage else {})
    tags = {"sweep": name} | ({"sweep.storage": storage} if storage else {})
    if known is None and storage is not None:  # killed before the study knew of it, or another sweeper is about to
        known = tracking.find_open(config.tracking, tags)
    run = tracking.start_run(
        config.tracking,
        params={"study": study, "objective": ", ".join(config.objective)},
        overrides=[],
        output_dir=Path(),
        run_id=known,
        run_name=name,
        tags=tags,
    )
    if run.run_id is not None:
        _open[run.run_id] = run, config.tracking
    return run.run_id


def objectives(cfg: DictConfig) -> list[str]:
    """The names of what a run returns."""
    return list(_parse(cfg).objective)


def settle(parent_run_id: str | None, running: Collection[int]) -> None:
    """Close the runs of trials whose jobs are gone: those below the parent that are open, but for ``running``."""
    from rnn_sweep import tracking

    if parent_run_id in _open:
        tracking.close_abandoned(_open[parent_run_id][1], parent_run_id, running)


def end(parent_run_id: str | None, summary: Mapping[str, Any]) -> None:
    """Close the parent run with what came out: ``{reason, trials, best: {number, values, …} | None}``."""
    if parent_run_id not in _open:
        return
    run, _ = _open.pop(parent_run_id)
    metrics = {"trials": float(summary["trials"])}
    best = summary.get("best")
    if best is not None:
        metrics |= {"best_trial": float(best["number"]), "best_value": float(best["values"][0])}
    state = State.INTERRUPTED if summary["reason"] in ("interrupted", "failed") else State.COMPLETE
    run.finish(state, metrics, history=(), model=None, example=None, files=())


def _parse(cfg: DictConfig) -> Config:
    return parse(OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"]))
