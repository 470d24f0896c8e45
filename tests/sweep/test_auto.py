"""``hydra/sweeper/sampler=auto``: which sampler it chooses, and that a study keeps it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sweep.inprocess import study, sweep

AUTO = ["hydra/sweeper/sampler=auto", "hydra.sweeper.study_name=s", "hydra.sweeper.n_jobs=1"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        (["x=1,2", "y=range(0,5)"], "GridSampler, since all of 10 points are among 20 trials"),
        (["x=1,2", "y=range(0,11)"], "TPESampler n_startup_trials=5, which was ahead with one objective"),
        (["z=interval(0,1)", "hydra.sweeper.direction=[minimize,minimize]"], "which was ahead with 2 objectives"),
        (["c=a,b", "z=interval(0,1)", "hydra.sweeper.conditions={z: 'c=a'}"], "which models parameters that only some"),
    ],
)
def test_what_is_chosen_is_said_with_its_reason(given: list[str], chosen: str) -> None:
    ended = sweep(*AUTO, *given, "hydra.sweeper.dry_run=true")
    assert ended.status == 0, ended
    said = [line for line in ended.out.splitlines() if line.startswith("sampler=auto: ")]
    assert len(said) == 1
    assert chosen in said[0]


def test_a_study_keeps_its_choice_and_the_seed_is_the_users() -> None:
    own = [*AUTO, "x=range(0,30)", "hydra.sweeper.sampler.seed=3"]
    first = sweep(*own, "hydra.sweeper.n_trials=2")
    assert "sampler=auto: TPESampler n_startup_trials=5, which" in first.out
    second = sweep(*own, "hydra.sweeper.n_trials=30")
    assert "sampler=auto: TPESampler n_startup_trials=5, which" in second.out, "though now all points fit"
    found = study("s")
    assert found.user_attrs["auto_sampler"]["sampler"]["_target_"] == "optuna.samplers.TPESampler"
    noted = found.user_attrs["sweep"]
    assert (noted["sampler"], noted["sampler_seed"]) == ("TPESampler", 3)
    assert noted["sampler_why"] == found.user_attrs["auto_sampler"]["why"]


def test_a_grid_that_was_chosen_ends_when_each_point_was_tried() -> None:
    ended = sweep(*AUTO, "x=range(0,4)", "y=0,1")
    assert len(ended.jobs) == 8
    assert "every point of the space was tried" in ended.out


def test_an_argument_that_it_does_not_have_is_refused(folder: Path) -> None:
    ended = sweep(*AUTO, "+hydra.sweeper.sampler.seeds=3", "x=range(0,30)")
    assert (
        ended.err
        == "error: hydra.sweeper.sampler.seeds: auto has no such argument; did you mean 'seed'? (known: seed)\n"
    )
    assert list(folder.iterdir()) == []
