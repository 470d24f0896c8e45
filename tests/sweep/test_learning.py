"""A sweep that begins with what other studies found: ``hydra.sweeper.learn_from``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna import Study
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, create_trial

from rnn_sweep.sweep import study_metadata
from rnn_sweep.sweep.learner import Learner, by_rank
from tests.sweep.inprocess import Killed, Once, Values, study, sweep

LEARN = "hydra.sweeper.learn_from=[a]"
SEED = "hydra.sweeper.sampler.seed=1"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def bowl(values: Values, index: int) -> float:
    """Least at z = 0.8; of another scale with other epochs, as another data set's loss would be."""
    return 100 * int(values.get("epochs", 1)) + (float(values.get("z", 0.5)) - 0.8) ** 2


def first(*overrides: str, n: int = 15) -> None:
    name = ["hydra.sweeper.study_name=a", f"hydra.sweeper.n_trials={n}", SEED]
    ended = sweep(*name, *(overrides or ("z=interval(0,1)",)), job=bowl)
    assert ended.status == 0, ended


def second(*overrides: str, n: int = 12, **more: Any) -> Any:
    name = ["hydra.sweeper.study_name=b", f"hydra.sweeper.n_trials={n}", SEED]
    return sweep(*name, *overrides, job=more.get("job", bowl))


def test_best_points_come_first_and_trials_are_a_prior() -> None:
    first()
    ended = second("z=interval(0,1)", "epochs=5", LEARN)
    assert ended.status == 0, ended
    assert (
        "learning from study a: first its best points, 3 of them; 15 of its 15 complete trials are learnt" in ended.out
    )
    ranking = [t.params["z"] for t in sorted(study("a").trials, key=lambda t: t.value or 0)]
    trials = study("b").trials
    assert len(trials) == 12, "none of the other study's is a trial of this one"
    assert [t.params["z"] for t in trials[1:4]] == list(dict.fromkeys(ranking))[:3]
    assert all(t.value > 100 for t in trials)


class Recorder(RandomSampler):
    """Notes the values that it could learn from."""

    def __init__(self) -> None:
        super().__init__(seed=1)
        self.seen: list[list[float]] = []

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, Any]:
        self.seen.append([t.values[0] for t in study.get_trials(deepcopy=False) if t.values])
        return {}


def test_the_sampler_sees_ranks_and_each_own_trial_takes_the_place_of_another() -> None:
    space: dict[str, BaseDistribution] = {"z": FloatDistribution(0, 1)}
    other = [create_trial(value=1000.0 + n, params={"z": n / 4}, distributions=space) for n in range(4)]
    recorder = Recorder()
    own = optuna.create_study(sampler=Learner(recorder, by_rank(other)))
    for value in (5.0, 7.0, 7.0, 6.0, 8.0):
        trial = own.ask()
        trial.suggest_float("z", 0, 1)
        own.tell(trial, value)
    assert recorder.seen == [
        [0.125, 0.375, 0.625, 0.875],
        [0.375, 0.625, 0.875, 0.5],
        [0.625, 0.875, 0.25, 0.75],
        [0.875, *([1 / 6, 4 / 6, 4 / 6])],
        [0.125, 0.75, 0.75, 0.375],
    ]
    assert len(own.trials) == 5


def test_it_goes_on_learning_from_the_same_trials(folder: Path) -> None:
    def kill() -> None:
        raise Killed

    first()
    with pytest.raises(Killed):
        second("z=interval(0,1)", LEARN, job=Once(5, kill, bowl))
    known = study("b").user_attrs["learn_from"]
    assert known == {"a": list(range(15))}
    first(n=20)
    again = second("z=interval(0,1)", LEARN)
    assert "15 of its 15 complete trials" in again.out
    found = study("b")
    assert found.user_attrs["learn_from"] == known
    assert sum(t.state.name == "COMPLETE" for t in found.trials) == 12
    points = [
        t.params["z"] for t in found.trials if "fixed_params" in t.system_attrs and "retry_of" not in t.user_attrs
    ]
    assert len(points) == len(set(points)) == 4, "the best points are not tried twice"


def test_what_only_partly_overlaps_gives_points_but_no_prior() -> None:
    first()
    ended = second("z=interval(0,1)", "x=0,1", LEARN)
    assert "first its best points, 3 of them; 0 of its" not in ended.out
    assert "first its best points, 3 of them\n" in ended.out
    assert {t.params["x"] for t in study("b").trials[1:4]} <= {0, 1}


def test_values_outside_of_the_space_are_left_out() -> None:
    first()
    inside = sum(t.params["z"] <= 0.7 for t in study("a").trials)
    ended = second("z=interval(0,0.7)", LEARN)
    assert f"; {inside} of its 15 complete trials are learnt from" in ended.out
    assert all(t.params["z"] <= 0.7 for t in study("b").trials)


@pytest.mark.parametrize("sampler", ["random", "grid"])
def test_samplers_that_do_not_learn_try_the_points(sampler: str) -> None:
    first("x=range(0,9)", "hydra.sweeper.sampler.seed=2")
    ended = sweep("hydra.sweeper.study_name=b", f"hydra/sweeper/sampler={sampler}", "x=range(0,9)", LEARN, job=bowl)
    assert ended.status == 0, ended
    assert "first its best points, 3 of them\n" in ended.out


def test_with_several_objectives_it_learns_from_ranks_of_each() -> None:
    def both(values: Values, index: int) -> tuple[float, float]:
        return bowl(values, index), -bowl(values, index)

    two = ["z=interval(0,1)", "hydra.sweeper.direction=[minimize,minimize]", SEED]
    sweep("hydra.sweeper.study_name=a", *two, "hydra.sweeper.n_trials=6", job=both)
    ended = sweep("hydra.sweeper.study_name=b", *two, "hydra.sweeper.n_trials=6", LEARN, job=both)
    assert ended.status == 0, ended
    assert "6 of its 6 complete trials are learnt from" in ended.out


KEY = "error: hydra.sweeper.learn_from: "


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["z=interval(0,1)", "hydra.sweeper.learn_from=[nothing]"], f"{KEY}there is no study 'nothing' in studies/not"),
        (["x=0,1", LEARN], f"{KEY}the study 'a' has no complete trial inside this space: it searched z, this sweep x"),
        (["z=interval(2,3)", LEARN], f"{KEY}the study 'a' has no complete trial inside this space: it searched z, th"),
        (
            ["z=interval(0,1)", "hydra.sweeper.direction=maximize", LEARN],
            f"{KEY}the study 'a' has another direction, m",
        ),
        (
            ["z=interval(0,1)", "hydra.sweeper.learn_from=a"],
            "error: hydra.sweeper.learn_from must be a list such as [st",
        ),
        (
            ["z=interval(0,1)", "hydra.sweeper.learn_from=[b]"],
            "error: hydra.sweeper.learn_from must be other studies, ",
        ),
    ],
)
def test_what_cannot_teach_is_refused(given: list[str], message: str, folder: Path) -> None:
    first(n=3)
    ended = second(*given)
    assert ended.status == 2
    assert ended.err.startswith(message), ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert not (folder / "studies" / "b.journal").exists()


def test_a_study_of_another_application_is_refused() -> None:
    first(n=3)
    found = study("a")
    noted = found.user_attrs[study_metadata.ATTR]
    found.set_user_attr(study_metadata.ATTR, {**noted, "program": ["python", "elsewhere/other.py"]})
    ended = second("z=interval(0,1)", LEARN)
    assert ended.err == f"{KEY}the study 'a' is of another application, other.py; this is app.py\n"
