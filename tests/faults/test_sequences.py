"""Any sequence of starts, kills, resumes and changes leaves a study in order: a state machine over small studies.

The long form plays a thousand sequences.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from optuna.trial import FrozenTrial, TrialState

from rnn_sweep.sweep.study import SURPLUS_ATTR, counted
from tests.faults.conftest import LONG, Record
from tests.sweep.inprocess import Died, Ended, Killed, Values, study, sweep

SAMPLERS = ["random", "grid", "brute_force", "qmc", "cmaes", "tpe", "nsgaii"]
POINTS = 8
SPACE = f"x=range(0,{POINTS})"
NAME = "hydra.sweeper.study_name=s"
JOURNAL = Path("studies/s.journal")
REFUSED = [
    ["hydra.sweeper.direction=maximize"],
    ["hydra.sweeper.replicates=2"],
    ["hydra.sweeper.constraints=['cost <= 1']"],
    ["hydra.sweeper.n_trials=0"],
    ["hydra.sweeper.enqueue=[{x:99}]"],
    ["hydra/sweeper/sampler=grid", "z=interval(0,1)"],
    ["hydra.sweep.dir=foreign"],
]
EVENTS = ["none", "kill", "death", "error", "interrupt", "second sweeper", "enqueue"]


class Sweeps(RuleBasedStateMachine):
    """One study in a folder of its own, and what its jobs have returned."""

    @initialize()
    def begin(self) -> None:
        self.before = os.getcwd()
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        os.chdir(self.folder)
        (self.folder / "foreign" / "0").mkdir(parents=True)
        self.results: dict[int, float] = {}
        self.clean = True
        """Whether nobody was killed since the latest sweep that came to its end."""

    def teardown(self) -> None:
        if not hasattr(self, "before"):
            return
        try:
            if JOURNAL.exists():
                self.start("random", 1, "none", 0, "out")
                self.in_order()
        finally:
            os.chdir(self.before)
            shutil.rmtree(self.folder)

    @rule(
        sampler=st.sampled_from(SAMPLERS),
        n_trials=st.integers(1, POINTS + 2),
        event=st.sampled_from(EVENTS),
        at=st.integers(0, 3),
        folder=st.sampled_from(["out", "elsewhere", "${now:%Y}"]),
    )
    def start(self, sampler: str, n_trials: int, event: str, at: int, folder: str) -> None:
        """A sweep, in whose job number ``at`` something happens."""
        line = [SPACE, NAME, f"hydra/sweeper/sampler={sampler}", f"hydra.sweep.dir={folder}"]
        line += ["hydra.sweeper.sampler.seed=1", "hydra.sweeper.max_failure_rate=1"]
        before = counted(study("s").trials) if JOURNAL.exists() else []
        most = n_trials
        if event == "second sweeper":
            most = n_trials + 1
        job = self.job(event, at, [*line, f"hydra.sweeper.n_trials={most}"])
        self.clean = False
        try:
            result = sweep(*line, f"hydra.sweeper.n_trials={n_trials}", job=job)
        except Killed:
            return
        self.clean = True
        if result.status == 130:
            assert event == "interrupt"
            return
        assert result.status in (0, 1), result.err
        self.check_budget(sampler, before, n_trials, most)

    def job(self, event: str, at: int, line: list[str]) -> Callable[[Values, int], float]:
        """A job, in the ``at``-th call of which the event happens, once."""
        left = [at]

        def run(values: Values, index: int) -> float:
            left[0] -= 1
            if left[0] == -1:
                self.happen(event, line)
            self.results[index] = float(values["x"])
            return self.results[index]

        return run

    def happen(self, event: str, line: list[str]) -> None:
        if event == "kill":
            raise Killed
        if event == "death":
            raise Died("SIGKILL(-9)")
        if event == "error":
            raise RuntimeError("so it was written")
        if event == "interrupt":
            raise KeyboardInterrupt
        if event == "enqueue":
            study("s").enqueue_trial({"x": 3})
        if event == "second sweeper":
            inner: Ended = sweep(*line, job=self.job("none", 0, []))
            assert inner.status in (0, 1), inner.err

    def check_budget(self, sampler: str, before: list[FrozenTrial], n_trials: int, most: int) -> None:
        """As many trials as were asked for, no fewer but where the space was tried, and none beyond."""
        trials = study("s").trials
        done = len(counted(trials))
        ended = sum(t.state is not TrialState.RUNNING for t in before)  # what a killed sweeper left may wait its turn
        assert done <= max(len(before), most)
        if done < max(ended, n_trials):
            assert sampler in ("grid", "brute_force")
            assert len({t.params["x"] for t in trials if t.params}) == POINTS

    @precondition(lambda self: JOURNAL.exists())
    @rule(overrides=st.sampled_from(REFUSED))
    def change(self, overrides: list[str]) -> None:
        """A setting that must not change, or that nobody may have."""
        if not study("s").get_trials(states=[TrialState.COMPLETE]):
            return
        kept = self.everything()
        result = sweep(SPACE, NAME, *overrides, job=self.job("none", 0, []))
        assert result.status == 2
        assert result.err.startswith("error: ")
        assert len(result.err.splitlines()) == 1
        assert self.everything() == kept

    @precondition(lambda self: JOURNAL.exists())
    @rule()
    def tear(self) -> None:
        """The machine goes down while a line is being written."""
        with JOURNAL.open("a") as file:
            file.write('{"op_code": 5, "worker')

    def everything(self) -> dict[Path, bytes]:
        found = {p: p.read_bytes() if p.is_file() else b"" for p in Path().rglob("*") if p.suffix != ".lock"}
        if JOURNAL in found:  # a torn line is cut off by whoever opens the file
            found[JOURNAL] = found[JOURNAL][: found[JOURNAL].rfind(b"\n") + 1]
        return found

    @invariant()
    def in_order(self) -> None:
        """No result is lost, and after a sweep that ended nothing runs."""
        if not hasattr(self, "results") or not JOURNAL.exists():
            return
        trials = {t.number: t for t in study("s").trials}
        for number, value in self.results.items():
            if trials[number].state is TrialState.COMPLETE:
                assert trials[number].values == [value]
            else:  # its sweeper was killed in the moment after
                assert not self.clean or trials[number].state is TrialState.FAIL
        if self.clean:
            assert not [t for t in trials.values() if t.state is TrialState.RUNNING]
        assert not [t for t in trials.values() if SURPLUS_ATTR in t.user_attrs], "a file has a lock"


def test_sequences(record: Record, hydra_restore_singletons: None) -> None:
    count = 1000 if LONG else 50
    checks, phases = list(HealthCheck), [Phase.explicit, Phase.reuse, Phase.generate]  # shrinking takes long
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Sweeps,
        settings=settings(
            max_examples=count, stateful_step_count=8, deadline=None, suppress_health_check=checks, phases=phases
        ),
    )
    record("random sequences of starts, kills, deaths, second sweepers, changed settings and torn lines", tried=count)
