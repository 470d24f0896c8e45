"""Samplers that follow a plan, and seeds, across sweepers of one study; tests/faults has them under faults."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any
from unittest import mock

import optuna
import pytest

from rnn_sweep.sweep.space import suggest
from tests.sweep.inprocess import Job, Once, die, ran, study, sweep

FINITE = ["grid", "brute_force"]
SPACE = ["x=range(0,3)", "y=range(0,2)"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsgaii", "qmc", "cmaes", "grid", "brute_force"])
def test_the_same_sweep_twice(sampler: str) -> None:
    line = ["x=range(-5,6)", "y=range(1,4)", f"hydra/sweeper/sampler={sampler}", "hydra.sweeper.sampler.seed=3"]
    for name in ("a", "b"):
        sweep(*line, "hydra.sweeper.n_trials=7", f"hydra.sweeper.study_name={name}")
    a, b = ([(t.params, t.values) for t in study(name).trials] for name in ("a", "b"))
    assert a == b
    assert len(a) == 7


def test_a_grid_of_steps() -> None:
    result = sweep("x=choice(-1,1)", "z=range(0.0,1.0,0.1)", "hydra/sweeper/sampler=grid", "hydra.sweeper.study_name=g")
    points = {(t.params["x"], round(t.params["z"], 9)) for t in study("g").trials}
    assert points == {(x, step / 10) for x in (-1, 1) for step in range(10)}
    assert len(study("g").trials) == 20, result.out


@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc", "cmaes"])
def test_a_resumed_sweep_draws_other_numbers(sampler: str) -> None:
    own = [f"hydra/sweeper/sampler={sampler}", "hydra.sweeper.sampler.seed=1"]
    line = ["z=interval(0,1)", "c=choice(a,b)", *own, "hydra.sweeper.study_name=t"]
    line += ["hydra.sweeper.defaults_first=false"]
    for total in (3, 6, 9):
        sweep(*line, f"hydra.sweeper.n_trials={total}", job=lambda values, index: values["z"])
    assert len({t.params["z"] for t in study("t").trials}) == 9


@pytest.mark.parametrize("seed", ["1", "null"])
def test_one_scrambled_sequence_for_all_sweepers(seed: str) -> None:
    line = ["z=interval(0,1)", "hydra/sweeper/sampler=qmc", "hydra.sweeper.sampler.scramble=true"]
    line += [f"hydra.sweeper.sampler.seed={seed}", "hydra.sweeper.study_name=t", "hydra.sweeper.defaults_first=false"]
    job: Job = lambda values, index: values["z"]  # noqa: E731
    for total in (3, 5, 9):
        sweep(*line, f"hydra.sweeper.n_trials={total}", job=job)
    resumed = [t.params["z"] for t in study("t").trials]
    os.rename("studies", "before")
    sweep(*line, "hydra.sweeper.n_trials=9", job=job)
    assert [t.params["z"] for t in study("t").trials][1:] == resumed[1:], "the first point is drawn"


def test_a_resumed_grid_goes_as_one_that_was_not() -> None:
    line = [*SPACE, "hydra/sweeper/sampler=grid", "hydra.sweeper.sampler.seed=1"]
    for total in (2, 3, 6):
        sweep(*line, "hydra.sweeper.study_name=a", f"hydra.sweeper.n_trials={total}")
    result = sweep(*line, "hydra.sweeper.study_name=b", "hydra.sweeper.n_trials=6")
    assert [t.params for t in study("a").trials] == [t.params for t in study("b").trials]
    assert "ended early" not in result.out
    assert "every point of the space was tried" in sweep(*line, "hydra.sweeper.study_name=b").out


@pytest.mark.parametrize("sampler", FINITE)
def test_a_space_that_grows_and_shrinks(sampler: str) -> None:
    line = [f"hydra/sweeper/sampler={sampler}", "hydra.sweeper.study_name=t", "hydra.sweeper.sampler.seed=1"]
    sweep("x=range(0,2)", *line)
    sweep("x=range(0,4)", *line)
    assert sorted(t.params["x"] for t in study("t").trials) == [0, 1, 2, 3]
    assert not sweep("x=range(0,3)", *line).jobs
    sweep("y=range(0,2)", "x=range(0,2)", *line)
    both = [(t.params["x"], t.params["y"]) for t in study("t").trials if "y" in t.params]
    assert sorted(both) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def more(cfg: Any, trial: optuna.Trial) -> None:
    """A space of one's own."""
    if trial.params["x"] == 1:
        trial.suggest_int("y", 0, 1)


@pytest.mark.filterwarnings("ignore:hydra.utils.instantiate")  # Hydra 1.4: the application has no whitelist
@pytest.mark.parametrize("sampler", FINITE)
@pytest.mark.parametrize(
    "own",
    [
        ["y=range(0,2)", "hydra.sweeper.conditions={y:'x=1'}"],
        [f"hydra.sweeper.custom_search_space={__name__}.more"],
    ],
    ids=["conditions", "custom"],
)
def test_a_space_with_parts(sampler: str, own: list[str]) -> None:
    line = ["x=range(0,3)", f"hydra/sweeper/sampler={sampler}", *own, "hydra.sweeper.study_name=t"]
    result = sweep(*line, job=Once(2, die))
    assert "every point of the space was tried" in result.out
    points = sorted(tuple(t.params.items()) for t in ran(study("t")))
    assert points == [(("x", 0),), (("x", 1), ("y", 0)), (("x", 1), ("y", 1)), (("x", 2),)]


@pytest.mark.parametrize("sampler", FINITE)
def test_what_cannot_be_counted_is_refused(sampler: str) -> None:
    result = sweep("z=interval(0,1)", f"hydra/sweeper/sampler={sampler}")
    assert result.status == 2
    assert result.err.startswith("error: z: samplers grid and brute_force need values that can be counted")
    assert not list(Path().iterdir())


@pytest.mark.parametrize("moment", range(6))
def test_two_sweepers_that_have_no_common_lock(moment: int) -> None:
    """The second one works from the moment on in which the first has chosen a value and not yet noted its point."""
    line = [*SPACE, "hydra/sweeper/sampler=grid", "hydra.sweeper.sampler.seed=1", "hydra.sweeper.study_name=t"]
    calls, inner = itertools.count(), []
    original = suggest.suggest

    def choose(*args: Any) -> Any:
        value = original(*args)
        if next(calls) == moment:
            inner.append(sweep(*line, "hydra.sweeper.n_trials=4"))
        return value

    with (
        mock.patch.object(suggest, "suggest", choose),
        mock.patch("rnn_sweep.storage.location.lock_file", return_value=None),
    ):
        sweep(*line)
    assert inner
    points = sorted((t.params["x"], t.params["y"]) for t in ran(study("t")))
    assert points == sorted(itertools.product(range(3), range(2)))


@pytest.mark.parametrize("argument", ["seed=soon", "n_ei_candidates=3"])
def test_arguments_of_the_grid(argument: str) -> None:
    result = sweep("x=range(0,3)", "hydra/sweeper/sampler=grid", f"++hydra.sweeper.sampler.{argument}")
    assert result.status == 2
    assert "hydra.sweeper.sampler" in result.err
