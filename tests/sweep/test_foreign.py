"""Applications of others: a grid and a search beside hooks, and a key ``trial`` of their own in every form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

import pytest
from omegaconf import DictConfig
from optuna.trial import TrialState

from rnn_sweep.trial import Reporter
from tests.sweep.inprocess import InProcess


def reporting(cfg: DictConfig) -> float:
    reporter = Reporter(cfg.get("trial"))
    assert reporter.report(0, cfg.x)
    assert not reporter.stopping
    reporter.note("seen", cfg.x)
    assert list(reporter.earlier()) == []
    return float(cfg.x)


def test_a_grid_with_a_parent_run(in_process: InProcess) -> None:
    parents = []

    def task(cfg: DictConfig) -> float:
        parents.append(cfg.trial.parent_run_id)
        return reporting(cfg)

    task.rnn_sweep_begin = lambda *_: "the parent"  # type: ignore[attr-defined]
    ended = in_process.run(task, {"x": 1, "trial": None}, "-m", "hydra/sweeper=grid", "x=1,2")
    assert ended.status == 0, ended
    assert parents == ["the parent"] * 2


OWN: dict[str, Any] = {
    "a number": 3,
    "a text": "mine",
    "a mapping": {"number": 7},
    "a list": [1],
    "missing": "???",
    "an interpolation": "${x}",
}


@pytest.mark.slow
@pytest.mark.parametrize("sweeper", ["grid", "optuna"])
@pytest.mark.parametrize("kind", OWN)
def test_a_trial_of_their_own_is_theirs(in_process: InProcess, kind: str, sweeper: str) -> None:
    seen = []

    def task(cfg: DictConfig) -> float:
        seen.append(cfg.trial)
        return float(cfg.x)

    task.rnn_sweep_begin = lambda *_: "the parent"  # type: ignore[attr-defined]
    typed = ["trial=5"] if kind == "missing" else []
    node = {"x": 1, "trial": OWN[kind]}
    if sweeper == "grid":
        ended = in_process.run(task, node, "-m", "hydra/sweeper=grid", "x=1,2", *typed)
    else:
        ended = in_process.search(task, node, "x=1,2", "hydra.sweeper.n_trials=2", *typed)
        assert "the key 'trial' is the application's own" in ended.out
    assert ended.status == 0, ended
    if kind == "an interpolation":
        assert set(seen) <= {1, 2}
    else:
        assert seen == [5 if kind == "missing" else OWN[kind]] * 2


def test_a_trial_that_is_searched_is_theirs(in_process: InProcess) -> None:
    def task(cfg: DictConfig) -> float:
        return float(cfg.trial)

    assert in_process.search(task, {"trial": None}, "trial=1,2", "hydra.sweeper.n_trials=2").status == 0
    assert {t.state for t in in_process.study().trials} == {TrialState.COMPLETE}


@dataclass
class AnyTrial:
    x: float = 1.0
    trial: Any = None


@dataclass
class OptionalDict:
    x: float = 1.0
    trial: Optional[dict] = None  # noqa: UP045 - as OmegaConf reads it


@dataclass
class OptionalText:
    x: float = 1.0
    trial: Optional[str] = None  # noqa: UP045


def test_a_dataclass(in_process: InProcess) -> None:
    def task(cfg: DictConfig) -> float:
        Reporter(cfg.trial).report(0, cfg.x)
        return float(cfg.x)

    assert in_process.search(task, AnyTrial, "x=1,2", "hydra.sweeper.n_trials=2").status == 0
    assert all(len(t.intermediate_values) == 1 for t in in_process.study().trials)


def test_a_dataclass_that_cannot_take_it(in_process: InProcess) -> None:
    assert "declared as `trial: Any = None`" in in_process.refused(reporting, OptionalDict, "x=1,2")


def test_a_dataclass_with_a_text_of_that_name(in_process: InProcess) -> None:
    ended = in_process.search(reporting, OptionalText, "x=1,2", "hydra.sweeper.n_trials=2")
    assert ended.status == 0
    assert "application's own" in ended.out


def test_an_application_without_it_is_told_nothing(in_process: InProcess) -> None:
    def task(cfg: DictConfig) -> float:
        return float(cfg.x)

    ended = in_process.search(task, {"x": 1}, "x=1,2", "hydra.sweeper.n_trials=2")
    assert ended.status == 0
    assert "'trial'" not in ended.out
