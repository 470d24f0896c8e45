"""The best configurations are trained again with more seeds: ``hydra.sweeper.confirm``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial

from rnn_sweep.report.write import write
from rnn_sweep.sweep.results import winners
from rnn_sweep.trial import Reporter
from tests.sweep.inprocess import Killed, Once, Values, by_x, die, study, sweep
from tests.sweep.test_reuse import certain

SEARCH = ["hydra.sweeper.study_name=s", "hydra/sweeper/sampler=grid", "hydra.sweeper.direction=maximize"]
CONFIRM = "hydra.sweeper.confirm=2:3"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lucky(values: Values, index: int) -> float:
    """x = 3 wins with seed 1, which the search has; x = 2 does so by the mean of the other seeds."""
    x, seed = float(values.get("x", 0)), int(values.get("seed", 1))
    return x + 0.1 * (seed % 2) - (1.5 if x == 3 and seed > 1 else 0)


def marked(found: optuna.Study) -> list[FrozenTrial]:
    return [t for t in found.trials if "confirms" in t.user_attrs]


def runs(found: optuna.Study) -> list[tuple[int, int]]:
    """The trials that were confirmed, and the seeds, of those that came to their end."""
    marks: list[Mapping[str, Any]] = [t.user_attrs["confirms"] for t in marked(found) if t.state.name == "COMPLETE"]
    return sorted((mark["trial"], mark["seed"]) for mark in marks)


def test_the_winner_is_the_best_by_the_mean_of_more_seeds(folder: Path) -> None:
    ended = sweep(*SEARCH, "hydra.sweep.dir=out", "x=0,1,2,3", CONFIRM, job=lucky)
    assert ended.status == 0, ended
    found = study("s")
    by = {t.params["x"]: t.number for t in found.trials[:4]}
    assert len(found.trials) == 4 + 6
    assert runs(found) == sorted((by[x], seed) for x in (2, 3) for seed in (2, 3, 4))
    assert "confirming the best 2 configurations with 3 more seeds each (2 to 4): 6 trials beyond n_trials" in ended.out
    assert f"(confirms trial {by[3]}, seed 4)" in ended.out
    assert "4/4 ended" in ended.out
    assert "10/4 ended" not in ended.out
    assert [t.number for t in winners(found)] == [by[2]]
    kept = OmegaConf.load(folder / "out" / "optimization_results.yaml")
    assert kept.trial == by[2]
    assert kept.best_params == {"x": 2}
    assert kept.confirmed["values"] == {2: 2.0, 3: pytest.approx(2.1), 4: 2.0}
    low, high = kept.confirmed.interval
    assert kept.confirmed.mean == pytest.approx(6.1 / 3)
    assert low < kept.confirmed.mean < high
    assert "(3 seeds)" in ended.out


def test_no_pruner_stops_it() -> None:
    def reports(values: Values, index: int) -> float:
        Reporter(values["trial"]).report(1, lucky(values, index))
        return lucky(values, index)

    pruner = ["hydra/sweeper/pruner=threshold", "hydra.sweeper.pruner.lower=2.05"]
    sweep(*SEARCH, *pruner, "x=1,2,3", CONFIRM, job=reports)
    found = study("s")
    assert [t.params["x"] for t in found.trials if t.state.name == "PRUNED"] == [1]
    assert len(runs(found)) == 6


def test_given_again_there_is_nothing_left_and_more_may_be_asked_for() -> None:
    searched = sweep(*SEARCH, "x=0,1,2,3", job=lucky)
    assert len(searched.jobs) == 4
    assert len(sweep(*SEARCH, "x=0,1,2,3", CONFIRM, job=lucky).jobs) == 6
    assert sweep(*SEARCH, "x=0,1,2,3", CONFIRM, job=lucky).jobs == []
    assert len(sweep(*SEARCH, "x=0,1,2,3", "hydra.sweeper.confirm=3:4", job=lucky).jobs) == 2 + 4


@pytest.mark.parametrize("event", ["sweeper", "worker"])
def test_killed_it_goes_on_with_what_is_missing(event: str) -> None:
    def kill() -> None:
        raise Killed

    job = Once(6, kill if event == "sweeper" else die, lucky)
    if event == "sweeper":
        with pytest.raises(Killed):
            sweep(*SEARCH, "x=0,1,2,3", CONFIRM, job=job)
        before = study("s")
        assert len(runs(before)) == 2
        assert winners(before)[0].params["x"] == 3, "by its value, as long as runs are missing"
    ended = sweep(*SEARCH, "x=0,1,2,3", CONFIRM, job=job)
    assert ended.status == 0, ended
    found = study("s")
    assert len(ended.jobs) == (4 if event == "sweeper" else 4 + 7)
    assert len(runs(found)) == len(set(runs(found))) == 6
    assert winners(found)[0].params["x"] == 2


def test_a_better_configuration_found_later_is_confirmed_as_well() -> None:
    sweep(*SEARCH, "x=range(0,9)", "hydra.sweeper.enqueue=[{x: 1}, {x: 2}]", "hydra.sweeper.n_trials=2",
          "hydra.sweeper.defaults_first=false", CONFIRM)  # fmt: skip
    assert winners(study("s"))[0].params["x"] == 2
    more = [*SEARCH, "x=range(0,9)", "hydra.sweeper.n_trials=3", "hydra.sweeper.enqueue=[{x: 8}]"]
    more.append("hydra.sweeper.defaults_first=false")
    sweep(*more)
    assert winners(study("s"))[0].params["x"] == 8, "nobody has confirmed it, and it is better than what was"
    assert len(sweep(*more, CONFIRM).jobs) == 3
    assert [t.user_attrs["confirms"]["trial"] for t in marked(study("s"))].count(winners(study("s"))[0].number) == 3


def test_a_configuration_that_fails_with_a_seed_does_not_win() -> None:
    def fails(values: Values, index: int) -> float:
        if values.get("x") == 2 and values.get("seed") == 3:
            raise ValueError("this seed")
        return lucky(values, index)

    ended = sweep(*SEARCH, "x=0,1,2,3", CONFIRM, job=fails)
    assert winners(study("s"))[0].params["x"] == 3
    assert len(ended.jobs) == 10
    assert sweep(*SEARCH, "x=0,1,2,3", CONFIRM, job=fails).jobs == [], "as with any trial, retries.exception decides"


def test_seeds_that_replicates_have_are_not_used_again() -> None:
    ended = sweep(*SEARCH, "x=0,1", "hydra.sweeper.confirm=1:2", "hydra.sweeper.replicates=3", "seed=5", job=lucky)
    assert ended.status == 0, ended
    assert [seed for _, seed in runs(study("s"))] == [8, 9]
    assert len(ended.jobs) == len(set(ended.jobs)) == 2 * 3 + 2
    assert all("replicates" not in t.user_attrs for t in marked(study("s")))


def test_what_was_run_with_a_seed_is_reused() -> None:
    first = sweep(*SEARCH, "x=0,1,2,3", "hydra.sweeper.confirm=4:2", task=certain, job=lucky)
    assert len(first.jobs) == 12
    other = ["hydra.sweeper.study_name=s", "hydra/sweeper/sampler=grid", "hydra.sweeper.direction=maximize"]
    again = sweep(*other, "x=0,1,2,3", "seed=2", "hydra.sweeper.confirm=4:2", task=certain, job=lucky)
    assert {t.user_attrs["confirms"]["seed"] for t in marked(study("s"))} == {2, 3, 4}
    assert len(again.jobs) == 4, "seed 3 was known"


def test_a_second_sweeper_leaves_confirmation_to_the_one_that_still_searches() -> None:
    inner: list[Any] = []

    def company(values: Values, index: int) -> float:
        if index == 2 and not inner:
            inner.append(sweep(*SEARCH, "x=0,1,2,3", CONFIRM, "hydra.sweep.dir=second", job=lucky))
        return lucky(values, index)

    ended = sweep(*SEARCH, "x=0,1,2,3", CONFIRM, "hydra.sweep.dir=first", job=company)
    assert inner[0].jobs == [3]
    assert ended.jobs[:3] == [0, 1, 2]
    assert len(ended.jobs) == 3 + 6


def test_the_report_says_who_won_by_which_seeds(folder: Path) -> None:
    sweep(*SEARCH, "x=0,1,2,3", CONFIRM, job=lucky)
    found = study("s")
    report = write(found, folder / "report", None, None)
    stats, number = report.stats, winners(found)[0].number
    assert stats.total == 4
    assert [group.params["x"] for group in stats.replicates.groups] == [2, 3]  # type: ignore[union-attr]
    assert stats.best is not None
    assert stats.best.number == stats.ranking[0].number == number
    assert f"that of trial {number} has the highest mean value, 2.033" in report.note
    assert "Over 3 seeds the best configuration has 2.033" in report.note
    assert "is distinguishable from the runner-up" in report.note
    assert "seeds that they were not chosen by" in report.page.read_text()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["confirm=3"], "confirm must be configurations:seeds, such as 3:5"),
        (["confirm=3:1"], "confirm must be configurations:seeds, such as 3:5"),
        (["confirm=0:5"], "confirm must be configurations:seeds, such as 3:5"),
        (["confirm=three"], "confirm must be configurations:seeds, such as 3:5"),
        (["confirm=21:5"], "confirm=21:5 is of more configurations than the sweep has trials, which are 20"),
        (["confirm=5:5"], "confirm=5:5 is of more configurations than the sweep has trials, which are 4"),
        (["confirm=3:5", "direction=[minimize,minimize]"], "confirm=3:5 needs one objective, got 2"),
    ],
)
def test_bad_input_is_one_message_before_the_first_trial(given: list[str], message: str, folder: Path) -> None:
    grid = ["hydra/sweeper/sampler=grid"] if "confirm=5:5" in given else []
    ended = sweep(*grid, *(f"hydra.sweeper.{line}" for line in given), "x=0,1,2,3")
    assert ended.status == 2
    assert ended.err.startswith(f"error: hydra.sweeper.{message}"), ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert list(folder.iterdir()) == []


def test_a_seed_that_is_searched_cannot_be_set() -> None:
    ended = sweep("x=0,1", "seed=1,2", "hydra.sweeper.confirm=2:3", job=by_x)
    assert ended.err == "error: hydra.sweeper.confirm sets the seeds itself, got 2:3 with seed in the space\n"
