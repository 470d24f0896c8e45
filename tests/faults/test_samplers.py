"""Every sampler keeps its promise whatever happens: a table of samplers and events, played in this process."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from optuna.trial import FrozenTrial, TrialState

from rnn_sweep.sweep.space import suggest
from tests.faults.conftest import Record
from tests.sweep.inprocess import Killed, Once, die, ran, study, sweep

FINITE = ["grid", "brute_force"]
SAMPLERS: dict[str, list[str]] = {
    "tpe": [],
    "random": [],
    "grid": [],
    "brute_force": [],
    "cmaes": ["hydra.sweeper.sampler.popsize=3", "hydra.sweeper.sampler.warn_independent_sampling=false"],
    "gp": ["hydra.sweeper.sampler.n_startup_trials=6"],
    "nsgaii": ["hydra.sweeper.sampler.population_size=3"],
    "nsgaiii": ["hydra.sweeper.sampler.population_size=3"],
    "qmc": ["hydra.sweeper.sampler.warn_independent_sampling=false"],
}
BUDGET = 8
SPACE = ["x=range(0,3)", "y=range(0,2)"]
POINTS = set(itertools.product(range(3), range(2)))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def be_killed() -> None:
    raise Killed


def nothing(line: list[str]) -> None:
    sweep(*line)


def resumed(line: list[str]) -> None:
    sweep(*line, "hydra.sweeper.n_trials=3")
    sweep(*line)


def another_sweeper(line: list[str]) -> None:
    sweep(*line, job=Once(2, lambda: sweep(*line, "hydra.sweeper.n_trials=6")))


def a_worker_dies_first(line: list[str]) -> None:
    sweep(*line, job=Once(0, die))


def workers_die(line: list[str]) -> None:
    sweep(*line, job=Once(4, die, Once(5, die)))


def killed(line: list[str]) -> None:
    with pytest.raises(Killed):
        sweep(*line, job=Once(3, be_killed))
    sweep(*line)


def killed_while_choosing(line: list[str]) -> None:
    """Two parameters a trial: the eighth choice is the second one of trial 3."""
    calls = itertools.count()
    original = suggest.suggest

    def choose(*args: Any) -> Any:
        if next(calls) == 7:
            raise Killed
        return original(*args)

    with mock.patch.object(suggest, "suggest", choose), pytest.raises(Killed):
        sweep(*line)
    with mock.patch("rnn_sweep.sweep.heartbeat.UNSIGNED_SECONDS", 0.0):
        sweep(*line)


def points_of_the_user(line: list[str]) -> None:
    sweep(*line, "hydra.sweeper.enqueue=[{x:2,y:1},{x:1}]")


def points_of_the_user_later(line: list[str]) -> None:
    sweep(*line, "hydra.sweeper.n_trials=3")
    sweep(*line, "hydra.sweeper.enqueue=[{x:2,y:1},{y:1}]")


def replicates(line: list[str]) -> None:
    sweep(*line, "hydra.sweeper.replicates=2", job=Once(5, die))


EVENTS = [
    nothing,
    resumed,
    another_sweeper,
    a_worker_dies_first,
    workers_die,
    killed,
    killed_while_choosing,
    points_of_the_user,
    points_of_the_user_later,
    replicates,
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_table(sampler: str, event: Callable[[list[str]], None], record: Record) -> None:
    """Sampler × event: each sampler's promise over real studies."""
    own = [f"hydra/sweeper/sampler={sampler}", "hydra.sweeper.sampler.seed=1", *SAMPLERS[sampler]]
    event([*SPACE, *own, "hydra.sweeper.study_name=t", f"hydra.sweeper.n_trials={BUDGET}"])
    trials = ran(study("t"))
    assert {t.state for t in trials} == {TrialState.COMPLETE}
    assert [t.number for t in trials] == sorted(t.number for t in trials)
    if sampler in FINITE:
        points = Counter((t.params["x"], t.params["y"]) for t in trials)
        assert points == Counter(POINTS), "each point once"
    else:
        assert len(trials) == BUDGET
    if sampler == "cmaes":
        check_generations(trials)
    if sampler == "qmc":
        check_sequence(trials)
    record(f"each sampler keeps its promise: {event.__name__.replace('_', ' ')}")


def check_generations(trials: list[FrozenTrial], popsize: int = 3) -> None:
    """The trials of a generation are enough for it, the points are those that it asked for."""
    sizes = Counter(t.system_attrs["cma:generation"] for t in trials if "cma:generation" in t.system_attrs)
    assert list(sizes) == sorted(sizes), sizes
    assert all(size >= popsize for generation, size in sizes.items() if generation < max(sizes)), sizes


def check_sequence(trials: list[FrozenTrial]) -> None:
    """The sequence has gone on by as many points as it has chosen: no gap, nothing twice."""
    found = study("t")
    fixed = [t.system_attrs.get("fixed_params", {}) for t in found.trials]
    chosen = sum(not {"x", "y"} <= params.keys() for params in fixed)
    attrs = found._storage.get_study_system_attrs(found._study_id)
    (last,) = (value for key, value in attrs.items() if key.startswith("qmc:"))
    assert last + 1 == chosen
