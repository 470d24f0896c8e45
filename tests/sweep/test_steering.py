"""A study that is steered while its trials run: real sweeps and studies, and the commands' own functions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from rnn_sweep.commands import steer
from rnn_sweep.errors import UserError
from rnn_sweep.outcome import Outcome, State
from rnn_sweep.sweep import steering
from rnn_sweep.sweep.heartbeat import machine
from rnn_sweep.sweep.status import look
from rnn_sweep.trial import Reporter
from tests.sweep.inprocess import Values, ran, study, sweep

S = ["hydra.sweeper.study_name=s", "hydra.sweeper.sampler.seed=1", "x=interval(0,1)"]
EPOCHS = 4


def heeding(values: Values, index: int) -> float:
    """What a sweep takes for its task: one whose jobs end when they are told to."""
    raise AssertionError("the launcher runs jobs")


heeding.rnn_sweep_heeds_stop = True  # type: ignore[attr-defined]


class Trains:
    """A job of some epochs, which goes on where its trial was; ``event`` happens once, in an epoch of a trial."""

    def __init__(self, number: int, event: Callable[[], Any], epoch: int = 2) -> None:
        self.at, self.event, self.done, self.trained = (number, epoch), event, False, 0

    def __call__(self, values: Values, index: int) -> Outcome:
        reporter = Reporter(values["trial"])
        begun = next((int(notes["epochs"]) for notes in reporter.earlier() if "epochs" in notes), 0)
        for epoch in range(begun + 1, EPOCHS + 1):
            self.trained += 1
            if (index, epoch) == self.at and not self.done:
                self.done = True
                self.event()
            reporter.note("epochs", epoch)
            if not reporter.report(epoch, float(values["x"])):
                return Outcome(State.PRUNED, (), cause=f"pruned after epoch {epoch}")
            if epoch < EPOCHS and reporter.stopping:
                return Outcome(State.INTERRUPTED, (), cause=f"interrupted after epoch {epoch}")
        return Outcome(State.COMPLETE, (float(values["x"]),))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def live(name: str = "s") -> optuna.Study:
    """A study that a sweeper on another machine is at work on."""
    ended = sweep(*S[1:], f"hydra.sweeper.study_name={name}", "hydra.sweeper.n_trials=1")
    assert ended.status == 0, ended
    found = study(name)
    found.set_user_attr("sweeper:ab", {"machine": "elsewhere boot", "pid": 7, "start": 1, "beat": 5})
    return found


def test_a_pause_yields_and_goes_on_from_the_checkpoint() -> None:
    said: list[str] = []

    def pause() -> None:
        said.append(steer.pause(study("s")))
        threading.Timer(1.2, lambda: said.append(steer.go_on(study("s")))).start()

    job = Trains(1, pause)
    ended = sweep(*S, "hydra.sweeper.n_trials=3", "hydra.sweeper.retries=0", job=job, task=heeding)
    assert ended.status == 0, ended
    assert "paused: 1 sweeper will start no trial; 1 running trial will end after their" in said[0]
    assert said[1] == "study s goes on with 1 sweeper"
    found = study("s")
    assert [t.state.name for t in ran(found)] == ["COMPLETE"] * 3
    assert found.trials[1].state.name == "FAIL"
    assert list(found.trials[1].intermediate_values) == [1, 2], "it ended after the epoch in which it was told"
    assert job.trained == 3 * EPOCHS, "no epoch was trained twice"
    again = found.trials[2]
    assert (again.user_attrs["retry_of"], again.user_attrs["attempt"], again.params) == (1, 0, found.trials[1].params)
    assert "the study is paused by" in ended.out
    assert "trial 1 interrupted" in ended.out
    assert "continue: " in ended.out


def test_ctrl_c_ends_a_sweep_that_is_paused() -> None:
    import os
    import signal

    def pause() -> None:
        steer.pause(study("s"))
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()

    ended = sweep(*S, "hydra.sweeper.n_trials=3", job=Trains(1, pause), task=heeding)
    assert ended.status == 130, ended
    assert "the study is paused" in (paused := sweep_until_continued())
    assert paused
    assert [t.state.name for t in ran(study("s"))] == ["COMPLETE"] * 3


def sweep_until_continued() -> str:
    """Resume the paused study ``s``, and let it go on after a while."""
    threading.Timer(1.0, lambda: steer.go_on(study("s"))).start()
    ended = sweep(*S, "hydra.sweeper.n_trials=3", job=Trains(-1, lambda: None), task=heeding)
    assert ended.status == 0, ended
    return ended.out


def test_a_trial_that_is_stopped_is_pruned_with_its_cause() -> None:
    ended = sweep(*S, "hydra.sweeper.n_trials=3", job=Trains(1, lambda: steer.stop(study("s"), 1)), task=heeding)
    assert ended.status == 0, ended
    trial = study("s").trials[1]
    assert trial.state.name == "PRUNED"
    assert list(trial.intermediate_values) == [1], "the epoch in which it was told is its last"
    assert trial.user_attrs["cause"] == f"stopped by {steering.giver()}"
    assert len(study("s").trials) == 3
    with pytest.raises(UserError, match="trial 1 has ended: pruned"):
        steer.stop(study("s"), 1)
    with pytest.raises(UserError, match="no trial 9; its trials: 0 to 2"):
        steer.stop(study("s"), 9)


def test_a_job_that_reports_nothing_is_stopped_too() -> None:
    def silent(values: Values, index: int) -> Outcome:
        reporter = Reporter(values["trial"])
        if index == 1:
            steer.stop(study("s"), 1)
        return Outcome(State.INTERRUPTED if reporter.stopping else State.COMPLETE, (1.0,))

    ended = sweep(*S, "hydra.sweeper.n_trials=3", job=silent, task=heeding)
    assert ended.status == 0, ended
    assert [t.state.name for t in study("s").trials] == ["COMPLETE", "PRUNED", "COMPLETE"]


def test_of_several_objectives_a_stopped_trial_fails_and_is_not_counted_as_a_failure() -> None:
    def two(values: Values, index: int) -> Any:
        if index > 0:
            steer.stop(study("s"), index)
        reporter = Reporter(values["trial"])
        return (1.0, 2.0) if reporter.report(1, 0.0) else Outcome(State.PRUNED, ())

    args = [*S, "hydra.sweeper.direction=[minimize,minimize]", "hydra.sweeper.max_failure_rate=0"]
    assert sweep(*args, "hydra.sweeper.n_trials=3", job=two, task=heeding).status == 0
    assert [t.state.name for t in study("s").trials] == ["COMPLETE", "FAIL", "FAIL"]
    assert study("s").trials[1].user_attrs["failure"] == "stopped"


def test_a_point_that_is_added_runs_next() -> None:
    ended = sweep(
        *S, "hydra.sweeper.n_trials=4", job=Trains(1, lambda: steer.add(study("s"), ["x=0.25"])), task=heeding
    )
    assert ended.status == 0, ended
    found = study("s")
    assert found.trials[2].params == {"x": 0.25}
    assert found.trials[2].user_attrs["added"] == steering.giver()
    assert len(found.trials) == 4


def test_points_are_held_against_the_space(folder: Path) -> None:
    space = ["x=interval(0,1)", "c=a,b", "z=choice([1,2],[3])", "hydra.sweeper.n_trials=1"]
    assert sweep("hydra.sweeper.study_name=p", *space).status == 0
    found = study("p")
    refused = {
        "xx=1": "add: 'xx' is not searched; did you mean 'x'",
        "x=2": "add: x must be a float from 0.0 to 1.0, got 2",
        "c=d": "add: c must be one of a, b, got 'd'",
        "x=0.1,0.2": "add takes one value for each parameter",
        "x": "is not a valid override",
    }
    for line, message in refused.items():
        with pytest.raises(UserError) as caught:
            steer.add(found, [line])
        assert message in str(caught.value)
    assert len(found.trials) == 1
    told = steer.add(found, ["x=1", "c=b", "z=[3]"])
    assert "the budget of 1 trials is used up: `rnn-sweep extend p 1`" in told
    assert found.trials[1].system_attrs["fixed_params"] == {"x": 1.0, "c": "b", "z": "[3]"}
    assert steer.stop(found, 1) == "trial 1 will not run"
    assert found.trials[1].state.name == "PRUNED"
    assert steer.extend(found, 1).startswith("study p has a budget of 2 trials, 1 more: `rnn-sweep resume p`")
    assert sweep("hydra.sweeper.study_name=p", *space).status == 0, "a resumed sweep has the extended budget"
    assert [t.state.name for t in found.trials] == ["COMPLETE", "PRUNED", "COMPLETE"]


def test_two_extensions_at_once_add_up() -> None:
    def both() -> None:
        first, second = study("s"), study("s")
        seen = steering.orders(second)
        steer.extend(first, 1)
        assert seen == []
        steering.give(second, steering.EXTEND, trials=2, budget=2)  # of one who saw the budget of before

    ended = sweep(*S, "hydra.sweeper.n_trials=2", job=Trains(1, both), task=heeding)
    assert ended.status == 0, ended
    assert len(study("s").trials) == 5
    assert "5/5 ended" in ended.out
    assert look(study("s"), 5).budget == 5
    assert steering.budget(4, steering.orders(study("s"))) == 5
    assert steering.budget(9, steering.orders(study("s"))) == 9, "a larger n_trials stands"


def test_the_later_word_counts_and_none_is_lost() -> None:
    found = live()
    steer.pause(found)
    with pytest.raises(UserError, match="is paused already, by"):
        steer.pause(found)
    steer.go_on(found)
    with pytest.raises(UserError, match="is not paused"):
        steer.go_on(found)
    steer.set_workers(found, 3)
    steer.set_workers(found, 2)
    given = steering.orders(found)
    assert [order.what for order in given] == ["pause", "continue", "workers", "workers"]
    assert steering.jobs("ab", given) == 2
    assert steering.jobs("cd", given) is None
    with pytest.raises(UserError, match="no sweeper 'xy' works on study 's'; known: ab"):
        steer.set_workers(found, 2, "xy")
    with pytest.raises(UserError, match="must be from 1 to"):
        steer.set_workers(found, 0)


def test_who_is_not_there_cannot_be_steered() -> None:
    assert sweep(*S, "hydra.sweeper.n_trials=1").status == 0
    found = study("s")
    for order in (lambda: steer.pause(found), lambda: steer.set_workers(found, 2)):
        with pytest.raises(
            UserError, match="no sweeper works on study 's', which has 1 of 1 trials: `rnn-sweep resume"
        ):
            order()
    found.set_user_attr("sweeper:dead", {"machine": machine(), "pid": 1, "start": -1, "beat": 5})
    with pytest.raises(UserError, match="no sweeper works"):
        steer.pause(found)
    assert steering.orders(found) == []
    foreign = optuna.create_study(study_name="foreign")
    with pytest.raises(UserError, match="cannot be steered"):
        steer.pause(foreign)


def test_fewer_workers() -> None:
    def fewer(values: Values, index: int) -> float:
        if index == 1:
            steer.set_workers(study("s"), 1)
        return float(values["x"])

    ended = sweep(*S, "hydra.sweeper.n_trials=5", "hydra.sweeper.n_jobs=2", job=fewer, task=heeding)
    assert ended.status == 0, ended
    assert "1 trial at a time by sweeper" in ended.out
