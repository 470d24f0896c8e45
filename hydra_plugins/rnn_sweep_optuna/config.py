"""What ``hydra/sweeper=optuna`` and its groups hold; the keys are told in ``rnn_sweep.sweep.settings``."""

from __future__ import annotations

from typing import Any

from hydra.core.config_store import ConfigStore

from rnn_sweep.sweep import official

SWEEPER: dict[str, Any] = {
    "defaults": ["_self_", {"sampler": "tpe"}, {"pruner": "none"}, {"optional space": "default"}],
    "_target_": "hydra_plugins.rnn_sweep_optuna.sweeper.OptunaSweeper",
    "_recursive_": False,
    "direction": None,
    "storage": None,
    "study_name": None,
    "n_trials": 20,
    "n_jobs": None,
    "replicates": 1,
    "confirm": None,
    "max_failure_rate": 0.5,
    "params": None,
    "custom_search_space": None,
    "enqueue": [],
    "learn_from": [],
    "conditions": None,
    "constraints": [],
    "timeout": None,
    "retries": {"exception": 0, "no_value": 0, "worker_died": 2, "orphaned": 2, "interrupted": 100},
    "defaults_first": True,
    "deterministic": False,
    "reuse": None,
    "report": True,
    "dry_run": False,
}

# Null is Optuna's own default everywhere; the keys are there to be set on the command line. Optuna 6 is to remove some
# of TPE and CMA-ES (docs/sweeps.md has the list).
_TPE = {
    "_target_": "optuna.samplers.TPESampler",
    "seed": None,
    "n_startup_trials": 5,  # docs/search.md: Optuna's own 10 are behind
    "n_ei_candidates": 24,
    "multivariate": None,
    "group": None,
    "constant_liar": None,
    "consider_prior": None,
    "prior_weight": None,
    "consider_magic_clip": None,
    "consider_endpoints": None,
    "warn_independent_sampling": None,
    "gamma": None,
    "weights": None,
    "constraints_func": None,
}
_NSGA = {
    "seed": None,
    "population_size": 50,
    "mutation": None,
    "mutation_prob": None,
    "crossover": None,
    "crossover_prob": 0.9,
    "swapping_prob": 0.5,
    "constraints_func": None,
    "elite_population_selection_strategy": None,
    "child_generation_strategy": None,
    "after_trial_strategy": None,
}
SAMPLERS: dict[str, dict[str, Any]] = {
    "auto": {"_target_": "rnn_sweep.sweep.auto.choose", "seed": None},
    "tpe": _TPE,
    "motpe": _TPE,  # a sampler of its own in Optuna 2 and 3; TPE does the same since
    "tpe_official": {**_TPE, **official.TPE},
    "random": {"_target_": "optuna.samplers.RandomSampler", "seed": None},
    "grid": {"_target_": "optuna.samplers.GridSampler", "seed": None},
    "brute_force": {"_target_": "optuna.samplers.BruteForceSampler", "seed": None, "avoid_premature_stop": False},
    "cmaes": {
        "_target_": "optuna.samplers.CmaEsSampler",
        "seed": None,
        "x0": None,
        "sigma0": None,
        "n_startup_trials": 1,
        "independent_sampler": None,
        "warn_independent_sampling": True,
        "consider_pruned_trials": False,
        "restart_strategy": None,
        "popsize": None,
        "inc_popsize": None,
        "use_separable_cma": False,
        "with_margin": False,
        "lr_adapt": False,
        "source_trials": None,
    },
    "gp": {
        "_target_": "optuna.samplers.GPSampler",
        "seed": None,
        "n_startup_trials": 10,
        "independent_sampler": None,
        "deterministic_objective": False,
        "warn_independent_sampling": None,
        "constraints_func": None,
    },
    "nsgaii": {"_target_": "optuna.samplers.NSGAIISampler", **_NSGA},
    "nsgaiii": {
        "_target_": "optuna.samplers.NSGAIIISampler",
        **_NSGA,
        "reference_points": None,
        "dividing_parameter": 3,
    },
    "qmc": {
        "_target_": "optuna.samplers.QMCSampler",
        "seed": None,
        "qmc_type": "sobol",
        "scramble": False,
        "independent_sampler": None,
        "warn_asynchronous_seeding": True,
        "warn_independent_sampling": True,
    },
}

_PERCENTILE = {"n_startup_trials": 5, "n_warmup_steps": 0, "interval_steps": 1, "n_min_trials": 1}
PRUNERS: dict[str, dict[str, Any]] = {
    "none": {"_target_": "optuna.pruners.NopPruner"},
    "median": {"_target_": "optuna.pruners.MedianPruner", **_PERCENTILE},
    "percentile": {"_target_": "optuna.pruners.PercentilePruner", "percentile": 25.0, **_PERCENTILE},
    "hyperband": {
        "_target_": "optuna.pruners.HyperbandPruner",
        "min_resource": 1,
        "max_resource": "auto",
        "reduction_factor": 3,
        "bootstrap_count": 0,
    },
    "successive_halving": {
        "_target_": "optuna.pruners.SuccessiveHalvingPruner",
        "min_resource": "auto",
        "reduction_factor": 4,
        "min_early_stopping_rate": 0,
        "bootstrap_count": 0,
    },
    "patient": {
        "_target_": "optuna.pruners.PatientPruner",
        "wrapped_pruner": {"_target_": "optuna.pruners.MedianPruner", **_PERCENTILE},
        "patience": 3,
        "min_delta": 0.0,
    },
    "threshold": {
        "_target_": "optuna.pruners.ThresholdPruner",
        "lower": None,
        "upper": None,
        "n_warmup_steps": 0,
        "interval_steps": 1,
    },
    "wilcoxon": {"_target_": "optuna.pruners.WilcoxonPruner", "p_threshold": 0.1, "n_startup_steps": 2},
}


def register() -> None:
    """Put all of it into Hydra's config store, where every application finds it."""
    store = ConfigStore.instance()
    store.store(group="hydra/sweeper", name="optuna", node=SWEEPER, provider="rnn_sweep")
    for name, node in SAMPLERS.items():
        store.store(group="hydra/sweeper/sampler", name=name, node=node, provider="rnn_sweep")
    for name, node in PRUNERS.items():
        store.store(group="hydra/sweeper/pruner", name=name, node=node, provider="rnn_sweep")
