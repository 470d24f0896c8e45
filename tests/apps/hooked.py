"""An application that takes part in its sweep: it validates, and keeps a parent run in a file."""

import json
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from rnn_sweep.errors import UserError
from rnn_sweep.hydra_version import BASE

ConfigStore.instance().store(name="hooked", node={"hidden": 8, "x": 1.0, "trial": None})


def validate(cfg: DictConfig) -> None:
    """Refuse what no job could run."""
    if cfg.hidden < 1:
        raise UserError(f"hidden must be at least 1, got {cfg.hidden}")


def begin(cfg: DictConfig, study_name: str, storage: str, known: str | None, space: dict[str, str]) -> str:
    """Open the parent run."""
    Path("begun.json").write_text(json.dumps([cfg.hidden, study_name, known, space]))
    return known or f"parent of {study_name}"


def end(parent_run_id: str | None, summary: dict[str, object]) -> None:
    """Close the parent run."""
    Path("ended.json").write_text(json.dumps([parent_run_id, summary]))


def job(cfg: DictConfig) -> float:
    assert cfg.trial.parent_run_id == f"parent of {cfg.trial.study_name}"
    return cfg.x


job.rnn_sweep_validate = validate
job.rnn_sweep_begin = begin
job.rnn_sweep_end = end

if __name__ == "__main__":
    hydra.main(config_path=None, config_name="hooked", **BASE)(job)()
