"""A sweep of real runs that is steered from outside, with the launchers that train several trials at a time."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import pexpect
import pytest

from rnn_sweep.commands import steer
from rnn_sweep.errors import UserError
from rnn_sweep.storage import open_storage
from rnn_sweep.sweep import steering
from rnn_sweep.sweep.study import counted
from tests import warm
from tests.conftest import command
from tests.sweep import steered
from tests.sweep.conftest import Sweeps

pytestmark = pytest.mark.slow

EPOCHS = 10_000
"""Of a trial: far more than what goes by while it is steered, on any machine (some 30 to 100 a second)."""


class Sweep:
    """A sweep of small networks in the background."""

    def __init__(self, folder: Path, launcher: str) -> None:
        self.folder = folder
        small = ["experiment=smoke", "model.hidden_dim=16", f"trainer.epochs={EPOCHS}", "trainer.engine=native"]
        how = [f"hydra/launcher={launcher}", "hydra/sweeper/pruner=none", "hydra.sweeper.report=false"]
        line = ["-m", "hydra/sweeper=optuna", *small, *how, "optimizer.lr=interval(0.001,0.002)"]
        names = ["hydra.sweeper.study_name=s", "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2"]
        self._said = folder / "said.txt"  # no pipe, which some 500 epochs fill: the sweep then waits for a reader
        with self._said.open("w") as out:
            self.process = warm.Popen(command(*line, *names), cwd=folder, stdout=out, stderr=subprocess.STDOUT)

    def said(self) -> str:
        """All that it has said, once it has ended."""
        self.process.wait(timeout=120)
        return self._said.read_text()

    @property
    def study(self) -> optuna.Study:
        return optuna.load_study(study_name="s", storage=open_storage(f"journal://{self.folder}/studies/s.journal"))

    def running(self) -> dict[int, int]:
        """Epochs of the trials that run, by number."""
        try:
            trials = counted(self.study.get_trials(deepcopy=False))
        except KeyError:  # the file is there before the study is
            return {}
        return {t.number: len(t.intermediate_values) for t in trials if t.state.name == "RUNNING"}

    def epochs(self, number: int) -> int:
        return len(self.study.trials[number].intermediate_values)

    def is_ahead(self, number: int) -> bool:
        """Whether a trial that runs again has gone beyond what it repeats of the earlier try."""
        earlier = self.study.trials[number].user_attrs.get("retry_of")
        return earlier is not None and self.epochs(number) > self.epochs(earlier)

    def wait_for(self, condition: Callable[[dict[int, int]], Any]) -> None:
        """Until ``condition`` of what runs is true."""
        end = time.monotonic() + 120
        while time.monotonic() < end and self.process.poll() is None:
            if (self.folder / "studies" / "s.journal").exists() and condition(self.running()):
                return
            time.sleep(0.05)
        raise AssertionError(f"not within two minutes: {self.running()}, status {self.process.poll()}")


@pytest.fixture(params=["threads", "processes"])
def live(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sweep]:
    sweep = Sweep(tmp_path, request.param)
    yield sweep
    sweep.process.kill()
    sweep.process.wait()


def two_train(running: dict[int, int]) -> bool:
    return len(running) == 2 and all(running.values())


def test_trials_obey_within_an_epoch(live: Sweep) -> None:
    """Pause, continue, stop, fewer workers and more, by the commands, and the sweep comes to its end."""
    live.wait_for(two_train)
    both = list(live.running())
    steer.pause(live.study)  # one of them may obey before the next line
    before = {number: live.epochs(number) for number in both}
    live.wait_for(lambda running: not running)
    for number, epochs in before.items():
        assert live.epochs(number) <= epochs + 1, "the epoch in which it was told is its last"
        assert live.study.trials[number].user_attrs["failure"] == "interrupted"
    time.sleep(1.5)
    assert not live.running(), "a paused study starts nothing"
    steer.go_on(live.study)
    live.wait_for(lambda running: len(running) == 2 and all(map(live.is_ahead, running)))
    again = [t for t in live.study.trials if "retry_of" in t.user_attrs]
    assert {t.user_attrs["retry_of"] for t in again} == set(before)
    runs = [(t.user_attrs["run_id"], live.study.trials[t.user_attrs["retry_of"]].user_attrs["run_id"]) for t in again]
    assert all(after == earlier for after, earlier in runs), "they go on in their runs, from the checkpoints"

    stopped = min(live.running())
    steer.stop(live.study, stopped)
    epochs = live.epochs(stopped)
    live.wait_for(lambda running: stopped not in running)
    assert live.study.trials[stopped].state.name == "PRUNED"
    assert live.epochs(stopped) <= epochs + 1
    assert live.study.trials[stopped].user_attrs["cause"].startswith("stopped by ")

    live.wait_for(two_train)
    steer.set_workers(live.study, 1)
    live.wait_for(lambda running: len(running) == 1)
    steer.set_workers(live.study, 3)
    live.wait_for(lambda running: len(running) == 3)
    for number in live.running():
        steer.stop(live.study, number)
    out = live.said()
    assert live.process.returncode in (0, 1), out
    assert "Traceback" not in out
    assert len(counted(live.study.trials)) == 4


def test_jobs_of_joblib_obey(sweeps: Sweeps) -> None:
    steered.check(sweeps, "hydra/launcher=joblib")


def test_two_sweepers_that_two_people_steer_at_once(sweeps: Sweeps) -> None:
    """The later word counts, and nothing is lost: each extension, each trial."""
    line = [*steered.TRAINS, "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=1", "epochs=4"]
    both = [sweeps.start("held.py", *line) for _ in range(2)]
    sweeps.wait_for("o", lambda trials: len(trials) >= 2)

    def person(order: Callable[[optuna.Study], str]) -> None:
        own = sweeps.study("o")
        for _ in range(3):
            steer.extend(own, 1)
            with suppress(UserError):  # the other one has said so already
                order(own)

    with ThreadPoolExecutor(2) as people:
        for done in [people.submit(person, order) for order in (steer.pause, steer.go_on)]:
            done.result()
    study = sweeps.study("o")
    given = steering.orders(study)
    assert sum(order.what == "extend" for order in given) == 6
    last = [order.what for order in given if order.what in ("pause", "continue")][-1:]
    assert (steering.pause(given) is not None) == (last == ["pause"])
    if last == ["pause"]:
        steer.go_on(study)
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert any("9/9 ended" in each for each in said), said  # one may end while the other trains the last trial
    ended = counted(sweeps.study("o").trials)
    assert [t.state.name for t in ended] == ["COMPLETE"] * 9
    assert all(sorted(t.intermediate_values) == [1, 2, 3, 4] for t in ended)


def test_keys_of_watch_give_orders(tmp_path: Path) -> None:
    live = Sweep(tmp_path, "threads")
    try:
        live.wait_for(two_train)
        line = [sys.executable, "-m", "rnn_sweep", "watch", "s"]
        with pexpect.spawn(line[0], line[1:], cwd=str(tmp_path), timeout=60, dimensions=(40, 160)) as terminal:
            terminal.expect("keys: p pause")
            terminal.send("p")
            terminal.expect("is paused")
            live.wait_for(lambda running: not running)
            terminal.send("a")
            terminal.expect("add a point")
            terminal.send("optimizer.lr=5\r")
            terminal.expect("optimizer.lr must be a float from 0.001 to 0.002, got 5")
            terminal.send("aoptimizer.lr=0.0015\r")
            terminal.expect("waits to run")
            terminal.send("e1\r")
            terminal.expect("a budget of 5 trials, 1 more")
            terminal.sendintr()
            terminal.expect(pexpect.EOF)
        assert [t.system_attrs["fixed_params"] for t in live.study.trials if "added" in t.user_attrs] == [
            {"optimizer.lr": 0.0015}
        ]
        assert live.process.poll() is None, "Ctrl-C ends the view only"
    finally:
        live.process.kill()
        live.process.wait()
