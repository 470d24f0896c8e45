"""A configuration that was run is not run again: ``hydra.sweeper.reuse``."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobReturn
from omegaconf import DictConfig

from rnn_sweep.sweep import fingerprint
from tests.sweep import inprocess
from tests.sweep.inprocess import Ended, InProcess, Killed, Once, Values, by_x, die, study, sweep


def certain(values: Values, index: int) -> float:
    """An application that says that it is deterministic."""
    return by_x(values, index)


certain.rnn_sweep_deterministic = True  # type: ignore[attr-defined]

NAME = "hydra.sweeper.study_name=s"
SAMPLERS = ("tpe", "random", "nsgaii", "nsgaiii", "cmaes", "qmc", "grid", "brute_force")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def known_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code's version is known, as in a clean checkout."""
    monkeypatch.setattr(fingerprint, "code_version", lambda: "commit a")


def points(found: Any) -> list[str]:
    return [json.dumps(t.params, sort_keys=True) for t in found.trials]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_finite_space_ends_with_every_sampler(sampler: str) -> None:
    own = ["hydra.sweeper.n_trials=60", f"hydra/sweeper/sampler={sampler}", "hydra.sweeper.sampler.seed=3"]
    ended = sweep(NAME, *own, "x=1,2", "y=1,2", task=certain)
    found = study("s")
    assert ended.status == 0, ended
    assert len(set(points(found))) == 4
    assert len(ended.jobs) == 4, "each is run once"
    assert "every point of the space was tried" in ended.out
    again = sweep(NAME, *own, "x=1,2", "y=1,2", task=certain)
    assert again.jobs == []


def test_conditions_count_among_the_points() -> None:
    own = ["hydra.sweeper.conditions={y: 'x=2'}", "hydra.sweeper.n_trials=60", "hydra/sweeper/sampler=random"]
    ended = sweep(NAME, *own, "hydra.sweeper.sampler.seed=1", "x=1,2", "y=range(0,3)", task=certain)
    assert len(ended.jobs) == 4
    assert len(set(points(study("s")))) == 4


def test_a_repeated_trial_takes_the_recorded_outcome() -> None:
    own = ["hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=1", "hydra.sweeper.n_trials=9"]
    ended = sweep(NAME, *own, "x=range(0,6)", "y=0,1", task=certain)
    trials = study("s").trials
    reused = [t for t in trials if "reused" in t.user_attrs]
    assert reused
    assert len(trials) == 9, "a reused trial is one of n_trials"
    assert len(ended.jobs) == 9 - len(reused)
    for trial in reused:
        origin = trials[trial.user_attrs["reused"]["trial"]]
        assert "reused" not in origin.user_attrs
        assert trial.user_attrs["reused"]["study"] == "s"
        assert (trial.values, trial.params) == (origin.values, origin.params)
        assert f"trial {trial.number} done {trial.value:.6g} (reused: trial {origin.number} had this" in ended.out


def test_the_search_is_the_same_as_without() -> None:
    own = ["hydra.sweeper.sampler.seed=1", "hydra.sweeper.n_trials=15", "x=range(0,6)", "y=0,1"]
    sweep("hydra.sweeper.study_name=s", *own, task=certain)
    sweep("hydra.sweeper.study_name=t", "hydra.sweeper.reuse=false", *own, task=certain)
    one, other = study("s"), study("t")
    assert points(one) == points(other)[: len(one.trials)]
    assert [t.values for t in one.trials] == [t.values for t in other.trials][: len(one.trials)]
    assert not any("reused" in t.user_attrs for t in other.trials)


@pytest.mark.parametrize("setting", ["null", "true", "false"])
def test_off_where_the_application_does_not_say_that_it_is_deterministic(setting: str) -> None:
    ended = sweep(NAME, f"hydra.sweeper.reuse={setting}", "hydra.sweeper.n_trials=6", "x=1,2")
    assert len(ended.jobs) == 6
    assert ("hydra.sweeper.reuse=true has no effect" in ended.out) == (setting == "true")


def test_the_seed_is_part_of_a_configuration(known_code: None) -> None:
    def jobs(name: str, *more: str) -> int:
        own = [f"hydra.sweeper.study_name={name}", "hydra/sweeper/sampler=grid", "x=1,2"]
        return len(sweep(*own, *more, task=certain).jobs)

    assert [jobs("a"), jobs("b", "seed=2"), jobs("c", "epochs=2"), jobs("d", "seed=2")] == [2, 2, 2, 0]


def test_a_failure_is_no_outcome() -> None:
    def fails(values: Values, index: int) -> float:
        if index == 0:
            raise ValueError("once")
        return by_x(values, index)

    own = ["hydra.sweeper.enqueue=[{x: 0}]", "hydra.sweeper.n_trials=2", "hydra.sweeper.max_failure_rate=1"]
    sweep(NAME, *own, "hydra/sweeper/sampler=grid", "x=0,1", job=fails, task=certain)
    more = ["hydra.sweeper.n_trials=3", "hydra.sweeper.retries.exception=1"]
    ended = sweep(NAME, *more, "x=0,1", job=fails, task=certain)
    assert ended.jobs == [2], "tried again"


class Late(inprocess.Launcher):
    """Runs jobs in threads, so that several are in flight."""

    def submit(self, overrides: Sequence[str], index: int) -> Future[JobReturn]:
        done = super().submit

        def run() -> JobReturn:
            return done(overrides, index).result()

        return POOL.submit(run)


POOL = ThreadPoolExecutor(4)


@pytest.mark.parametrize("ordered", ["false", "true"])
def test_a_trial_waits_for_one_in_flight(ordered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inprocess, "Launcher", Late)

    def slow(values: Values, index: int) -> float:
        time.sleep(0.02)
        if index == 1:
            raise ValueError("a failure")
        return by_x(values, index)

    own = ["hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=1", "hydra.sweeper.n_trials=14"]
    own += ["hydra.sweeper.n_jobs=4", f"hydra.sweeper.deterministic={ordered}", "hydra.sweeper.retries.exception=1"]
    ended = sweep(NAME, *own, "x=range(0,7)", "y=0,1", job=slow, task=certain)
    trials = study("s").trials
    complete = [t for t in trials if t.state.name == "COMPLETE"]
    assert len(complete) == 14
    assert len(ended.jobs) == len(set(points(study("s")))) + 1
    assert all(t.value == t.params["x"] + t.params["y"] for t in complete)


def test_reuse_may_be_turned_on_later() -> None:
    own = ["hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=1", "x=range(0,3)", "y=0,1"]
    first = sweep(NAME, *own, "hydra.sweeper.n_trials=5", "hydra.sweeper.reuse=false", task=certain)
    assert len(first.jobs) == 5
    sweep(NAME, *own, "hydra.sweeper.n_trials=40", task=certain)
    found = study("s")
    ran = {json.dumps(t.params) for t in found.trials[:5]}
    assert all("reused" in t.user_attrs for t in found.trials[5:] if json.dumps(t.params) in ran)
    assert len(set(points(found))) == 6


def test_replicates_come_along() -> None:
    own = ["hydra.sweeper.replicates=2", "hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=1"]
    ended = sweep(NAME, *own, "hydra.sweeper.n_trials=9", "x=range(0,6)", "y=0,1", task=certain)
    trials = study("s").trials
    reused = [t for t in trials if "reused" in t.user_attrs]
    assert reused
    assert len(ended.jobs) == 2 * (9 - len(reused))
    for trial in reused:
        origin = trials[trial.user_attrs["reused"]["trial"]]
        assert trial.user_attrs["replicates"] == origin.user_attrs["replicates"]


def test_another_study_with_the_same_code(known_code: None) -> None:
    own = ["hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=4"]
    first = sweep("hydra.sweeper.study_name=a", *own, "x=1,2", "y=1,2", task=certain)
    second = sweep("hydra.sweeper.study_name=b", *own, "x=1,2", "y=1,2,3", task=certain)
    assert len(first.jobs) == 4
    assert len(second.jobs) == sum("reused" not in t.user_attrs for t in study("b").trials) < 4
    by_params = {json.dumps(t.params): t for t in study("a").trials}
    for trial in study("b").trials:
        origin = trial.user_attrs.get("reused")
        if origin is not None:
            source = next(t for t in by_params.values() if t.number == origin["trial"])
            assert origin["study"] == "a"
            assert (source.value, source.params) == (trial.value, trial.params)


def test_another_study_in_the_same_storage(known_code: None) -> None:
    own = ["hydra.sweeper.storage=journal://all.journal", "hydra/sweeper/sampler=grid", "x=1,2"]
    sweep("hydra.sweeper.study_name=a", *own, task=certain)
    assert sweep("hydra.sweeper.study_name=b", *own, task=certain).jobs == []


def test_not_from_another_study_with_other_or_unknown_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def code(version: str | None) -> None:
        monkeypatch.setattr(fingerprint, "code_version", lambda: version)

    def run(name: str) -> Ended:
        return sweep(f"hydra.sweeper.study_name={name}", "hydra/sweeper/sampler=grid", "x=1,2", task=certain)

    code("a")
    run("a")
    code("b")
    assert len(run("b").jobs) == 2
    code(None)
    assert len(run("c").jobs) == 2
    assert len(run("d").jobs) == 2


def test_a_dead_sweepers_trial_is_tried_again_and_not_reused() -> None:
    job = Once(1, die)
    ended = sweep(NAME, "hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=3", "x=1,2,3", job=job, task=certain)
    assert len(ended.jobs) == 4
    assert not any("reused" in t.user_attrs for t in study("s").trials)


@pytest.mark.parametrize("value", ["3", "maybe", "[true]"])
def test_a_wrong_setting_is_refused(value: str, folder: Path) -> None:
    ended = sweep(f"hydra.sweeper.reuse={value}", "x=1,2", task=certain)
    assert ended.status == 2
    assert ended.err.startswith("error: hydra.sweeper.reuse must be true or false, got ")
    assert list(folder.iterdir()) == []


def declared(cfg: DictConfig) -> float:
    return float(cfg.x)


declared.rnn_sweep_deterministic = True  # type: ignore[attr-defined]

FEW = ["x=range(0,4)", "hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=1", "hydra.sweeper.n_trials=8"]


@pytest.mark.parametrize(
    ("node", "same"),
    [
        ({"checkpoint": "${hydra:runtime.output_dir}/net.pt", "log": "${hydra:sweep.dir}/${hydra:sweep.subdir}"}, True),
        ({"seed": "${hydra:job.num}"}, False),
        ({"broken": "${nowhere}"}, False),
    ],
)
def test_folders_of_jobs_are_no_part_of_a_configuration_and_their_numbers_are(
    in_process: InProcess, node: dict[str, Any], same: bool
) -> None:
    ended = in_process.search(declared, {"x": 0, **node}, *FEW)
    assert ended.status == 0, ended
    trials = in_process.study().trials
    reused = [t for t in trials if "reused" in t.user_attrs]
    assert len({t.params["x"] for t in trials}) == len(trials) - len(reused) or not same
    assert bool(reused) == same


def test_a_sweep_that_was_killed_goes_on_and_runs_nothing_twice() -> None:
    def kill() -> None:
        raise Killed

    own = ["hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=1", "hydra.sweeper.n_trials=40"]
    space = ["x=range(0,4)", "y=0,1"]
    first = Once(3, kill)
    with pytest.raises(Killed):
        sweep(NAME, *own, *space, job=first, task=certain)
    before = [t for t in study("s").trials if t.state.name == "COMPLETE" and "reused" not in t.user_attrs]
    ended = sweep(NAME, *own, *space, task=certain)
    assert ended.status == 0, ended
    found = study("s")
    complete = [t for t in found.trials if t.state.name == "COMPLETE"]
    assert len({json.dumps(t.params) for t in complete}) == 8
    assert len(ended.jobs) == 8 - len(before)
    assert all(t.value == t.params["x"] + t.params["y"] for t in complete)
