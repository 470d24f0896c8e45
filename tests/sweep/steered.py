"""A sweep of a function whose epochs take a while, steered: each order is obeyed within an epoch."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

from rnn_sweep.commands import steer
from tests.sweep.conftest import Sweeps

TRAINS = ["x=range(1,99)", "seconds=0.4", "tracking.enabled=false", "hydra.sweeper.study_name=o"]


def training(trials: Sequence[FrozenTrial], count: int, epochs: int = 1) -> bool:
    """Whether so many trials have reported so many epochs and run."""
    return sum(t.state is TrialState.RUNNING and len(t.intermediate_values) >= epochs for t in trials) == count


def check(sweeps: Sweeps, *launcher: str, **environment: str) -> None:
    """Stop a trial, pause and continue, with a launcher of two jobs at a time."""
    budget = ["hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2", "epochs=1000"]
    sweeps.start("held.py", *TRAINS, *budget, *launcher, **environment)
    sweeps.wait_for("o", lambda trials: len(trials) >= 2)
    sweeps.wait_for("o", lambda trials: training(trials, 2))
    study = sweeps.study("o")
    steer.stop(study, 0)
    before = len(study.trials[0].intermediate_values)
    sweeps.wait_for("o", lambda trials: trials[0].state is TrialState.PRUNED)
    assert len(study.trials[0].intermediate_values) <= before + 1

    sweeps.wait_for("o", lambda trials: training(trials, 2))
    running = [t.number for t in study.trials if t.state is TrialState.RUNNING]
    steer.pause(study)  # one of them may obey before the next line
    then = {number: len(study.trials[number].intermediate_values) for number in running}
    sweeps.wait_for("o", lambda trials: not any(t.state is TrialState.RUNNING for t in trials))
    for number, epochs in then.items():
        assert len(study.trials[number].intermediate_values) <= epochs + 1
    steer.go_on(study)
    sweeps.wait_for(
        "o", lambda trials: training(trials, 2, epochs=2)
    )  # of which an earlier try may have made the first
    again = [t for t in sweeps.study("o").trials if t.state is TrialState.RUNNING]
    assert {t.user_attrs["retry_of"] for t in again} == set(then)
    assert all(min(t.intermediate_values) == 1 for t in again), "from checkpoints"
