"""What users of Hydra and of the official sweeper type."""

from __future__ import annotations

import inspect
from typing import Any

import optuna
import pytest
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from hydra_plugins.rnn_sweep_optuna.config import PRUNERS, SAMPLERS
from tests.sweep.inprocess import InProcess


@pytest.fixture
def databases() -> dict[str, Any]:
    """An application that leaves a config group to its user."""
    for name, port in (("mysql", 1), ("postgresql", 2)):
        ConfigStore.instance().store(group="db", name=name, node={"port": port})
    return {"x": 1, "defaults": [{"db": "???"}, "_self_"]}


@pytest.mark.parametrize("sweeper", ["grid", "optuna"])
def test_a_mandatory_group_is_swept(in_process: InProcess, databases: dict[str, Any], sweeper: str) -> None:
    ports = []

    def task(cfg: DictConfig) -> float:
        ports.append(cfg.db.port)
        return float(cfg.db.port)

    how = [f"hydra/sweeper={sweeper}", "db=mysql,postgresql"]
    more = ["hydra/sweeper/sampler=grid", "hydra.sweeper.report=false"] if sweeper == "optuna" else []
    ended = in_process.run(task, databases, "-m", *how, *more)
    assert ended.status == 0, ended
    assert sorted(ports) == [1, 2]


def test_a_mandatory_group_that_is_not_chosen(in_process: InProcess, databases: dict[str, Any]) -> None:
    message = in_process.refused(lambda cfg: 0.0, databases, "x=1,2")
    assert "You must specify 'db'" in message


def test_a_mandatory_value_is_swept(in_process: InProcess) -> None:
    ended = in_process.search(lambda cfg: float(cfg.x), {"x": "???"}, "x=1,2", "hydra.sweeper.n_trials=2")
    assert ended.status == 0, ended


@pytest.mark.parametrize(("nodes", "module"), [(SAMPLERS, optuna.samplers), (PRUNERS, optuna.pruners)])
def test_every_argument_can_be_set_without_a_plus(nodes: dict[str, dict[str, Any]], module: Any) -> None:
    theirs = {name: node for name, node in nodes.items() if node["_target_"].startswith("optuna.")}
    for name, node in theirs.items():
        kind = getattr(module, node["_target_"].rpartition(".")[2])
        taken = set(inspect.signature(kind).parameters) - {"search_space"}
        assert node.keys() - {"_target_"} == taken, name


def test_the_official_values_of_tpe(in_process: InProcess) -> None:
    """The same seed gives what Optuna gives with them, in the order of the space."""

    def task(cfg: DictConfig) -> float:
        return float(cfg.x**2 + cfg.y)

    how = ["hydra/sweeper/sampler=tpe_official", "hydra.sweeper.sampler.seed=1", "hydra.sweeper.defaults_first=false"]
    lines = ["x=interval(-1,1)", "y=interval(0,1)", "hydra.sweeper.n_trials=14", "hydra.sweeper.direction=minimize"]
    assert in_process.search(task, {"x": 1.0, "y": 0.5}, *lines, *how).status == 0
    values = {"seed": 1, "multivariate": False, "group": False, "constant_liar": False}
    expected = optuna.create_study(sampler=optuna.samplers.TPESampler(**values))
    expected.optimize(lambda t: t.suggest_float("x", -1, 1) ** 2 + t.suggest_float("y", 0, 1), n_trials=14)
    assert [t.params for t in in_process.study().trials] == [t.params for t in expected.trials]


def test_nothing_to_search_says_how_to_run_the_same_again(in_process: InProcess) -> None:
    message = in_process.refused(lambda cfg: 0.0, {"x": 1, "seed": 1})
    assert "there is nothing to search" in message
    assert "'seed=range(0,5)'" in message
