"""What is counted bit by bit is what counting all trials anew would give."""

from __future__ import annotations

import random
from collections import Counter

import optuna
import pytest
from optuna.trial import FrozenTrial, Trial, TrialState

from rnn_sweep.sweep.counts import LiveCounts
from rnn_sweep.sweep.results import winners
from rnn_sweep.sweep.study import SURPLUS_ATTR, counted
from rnn_sweep.trial import RETRY_ATTR
from tests.faults.harness import seeded


def check(live: LiveCounts, study: optuna.Study) -> None:
    trials = counted(study.trials)
    states = Counter(t.state.name.lower() for t in trials)
    assert live.states() == {name: states[name] for name in ("complete", "pruned", "fail", "running")}
    best = next(iter(winners(study)), None)
    assert live.best() == (None if best is None else (best.number, best.values[0]))


def step(study: optuna.Study, running: list[Trial], chance: random.Random) -> None:
    """One event in the life of a study."""
    failed = [t for t in study.trials if t.state is TrialState.FAIL and SURPLUS_ATTR not in t.user_attrs]
    what = chance.choice(["ask", "ask", "tell", "tell", "again", "surplus"])
    if what == "ask":
        running.append(study.ask())
    elif what == "tell" and running:
        trial = running.pop(chance.randrange(len(running)))
        state = chance.choice([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
        study.tell(trial, [chance.choice([0.1, 0.2, 0.3])] if state is TrialState.COMPLETE else None, state)
    elif what == "again" and failed:
        study.enqueue_trial({}, user_attrs={RETRY_ATTR: chance.choice(failed).number})
    elif what == "surplus":
        trial = study.ask()
        trial.set_user_attr(SURPLUS_ATTR, True)
        if chance.random() < 0.5:
            study.tell(trial, state=TrialState.FAIL)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_bit_by_bit(direction: str) -> None:
    study, chance, running = optuna.create_study(direction=direction), seeded(direction), list[Trial]()
    live, late = LiveCounts(study), LiveCounts(study)
    for n in range(300):
        step(study, running, chance)
        check(live, study)
        if n % 50 == 0:
            check(late, study)


def test_a_store_that_shows_a_trial_late(monkeypatch: pytest.MonkeyPatch) -> None:
    study = optuna.create_study()
    study.optimize(lambda trial: float(trial.number), n_trials=4)
    live, all_ = LiveCounts(study), study.get_trials

    def without_the_third(**_: object) -> list[FrozenTrial]:
        return [trial for trial in all_() if trial.number != 2]

    monkeypatch.setattr(study, "get_trials", without_the_third)
    assert live.states()["complete"] == 3
    monkeypatch.undo()
    assert live.states()["complete"] == 4
