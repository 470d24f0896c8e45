"""``hydra/sweeper=pbt``; the keys are told in ``rnn_sweep.sweep.evolution`` and ``rnn_sweep.sweep.settings``."""

from __future__ import annotations

from typing import Any

from hydra.core.config_store import ConfigStore

from hydra_plugins.rnn_sweep_optuna.config import SWEEPER
from hydra_plugins.rnn_sweep_optuna.sweeper import OptunaSweeper

_SHARED = (
    *("direction", "storage", "study_name", "n_jobs", "max_failure_rate", "params", "enqueue", "conditions", "timeout"),
    *("retries", "defaults_first", "deterministic", "report", "dry_run"),
)
PBT: dict[str, Any] = {
    "defaults": ["_self_", {"sampler": "random"}, {"optional space": "default"}],
    "_target_": f"{__name__}.PbtSweeper",
    "_recursive_": False,
    "population": 8,
    "interval": 1,
    "epochs": None,
    "quantile": 0.25,
    "perturb": [0.8, 1.25],
    "resample_probability": 0.25,
    "mutable": None,
    **{key: SWEEPER[key] for key in _SHARED},
}
ConfigStore.instance().store(group="hydra/sweeper", name="pbt", node=PBT, provider="rnn_sweep")


class PbtSweeper(OptunaSweeper):
    """Trains a population of networks whose worse members copy the better ones: ``hydra/sweeper=pbt``."""
