"""What an application adds to its sweep, and what a job says through its reporter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from rnn_sweep.errors import UserError
from rnn_sweep.storage import open_storage
from rnn_sweep.storage.identifiers import storage_of
from rnn_sweep.trial import PRUNED_ATTR, PRUNER_ATTR, RETRY_ATTR, STOP_ATTR, Reporter, build_pruner
from tests.sweep.conftest import Sweeps

pytestmark = pytest.mark.slow  # real processes


def test_a_parent_run_and_its_children(sweeps: Sweeps) -> None:
    args = ["hooked.py", "x=interval(0,1)", "hydra.sweeper.study_name=h", "hydra.sweep.dir=out"]
    sweeps.run(*args, "hydra.sweeper.n_trials=2")
    parent, summary = json.loads((sweeps.folder / "ended.json").read_text())
    assert parent == "parent of h"
    assert summary["trials"] == 2
    assert summary["best"]["number"] == sweeps.study("h").best_trial.number
    sweeps.run(*args, "hydra.sweeper.n_trials=3")
    space = {"x": "a float from 0.0 to 1.0"}
    assert json.loads((sweeps.folder / "begun.json").read_text()) == [8, "h", "parent of h", space], "resumed, not new"


def test_the_applications_own_rules_hold_before_the_first_trial(sweeps: Sweeps) -> None:
    message = sweeps.refused("hooked.py", "hidden=range(0,4)", "hydra.sweep.dir=out")
    assert message == "error: hidden=0: hidden must be at least 1, got 0\n"


def test_a_reporter_without_a_sweep_does_nothing() -> None:
    code = (
        "import sys; from rnn_sweep.trial import Reporter; r = Reporter(None);"
        "assert r.report(0, 1.0); r.note('a', 1); assert 'optuna' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def study(tmp_path: Path) -> tuple[str, optuna.Study]:
    url = f"journal://{tmp_path}/s.journal"
    study = optuna.create_study(study_name="s", storage=open_storage(url), direction="maximize")
    study.set_user_attr(PRUNER_ATTR, json.dumps({"_target_": "optuna.pruners.MedianPruner", "n_startup_trials": 1}))
    return url, study


def test_reports(study: tuple[str, optuna.Study]) -> None:
    url, stored = study
    first, second = stored.ask(), stored.ask()
    one, two = (Reporter({"study_name": "s", "storage": url, "number": t.number}) for t in (first, second))
    assert one.report(0, 1.0)
    assert one.report(0, 5.0), "a step is reported once"
    one.note("run_id", "abc")
    stored.tell(first, 1.0)
    assert not one.report(2, 1.0), "a trial that was given up stops"
    assert two.report(0, 2.0)
    two.report(1, float("nan"))
    trials = stored.get_trials()
    assert trials[0].intermediate_values[0] == 1.0
    assert trials[0].user_attrs["run_id"] == "abc"
    assert list(trials[1].intermediate_values) == [0, 1]


@pytest.mark.parametrize("key", [STOP_ATTR, PRUNED_ATTR])
def test_what_is_said_while_an_epoch_is_recorded_ends_the_job_with_that_epoch(
    study: tuple[str, optuna.Study], monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Who reads the study before the epoch stands in it, and steers, sees at most that epoch come."""
    url, stored = study
    reporter = Reporter({"study_name": "s", "storage": url, "number": stored.ask().number})
    assert reporter.report(1, 1.0)
    kind = type(storage_of(stored))
    record = kind.set_trial_intermediate_value

    def steered_meanwhile(self: Any, trial_id: int, step: int, value: float) -> None:
        kind.set_trial_user_attr(storage_of(stored), trial_id, key, "said")
        record(self, trial_id, step, value)

    monkeypatch.setattr(kind, "set_trial_intermediate_value", steered_meanwhile)
    goes_on = reporter.report(2, 1.0)
    assert reporter.told if key == STOP_ATTR else not goes_on
    assert list(stored.trials[0].intermediate_values) == [1, 2]


def test_a_try_knows_all_tries_before_it(study: tuple[str, optuna.Study]) -> None:
    """The second one died before it could leave a note: what the first one has done is not lost."""
    url, stored = study
    for number in range(3):
        stored.enqueue_trial({}, user_attrs={RETRY_ATTR: number - 1} if number else None)
        stored.ask()
    reporters = [Reporter({"study_name": "s", "storage": url, "number": number}) for number in range(3)]
    reporters[0].note("folder", "here")
    notes = [list(reporter.earlier()) for reporter in reporters]
    assert notes[0] == []
    assert [each.get("folder") for each in notes[1]] == ["here"]
    assert [each.get("folder") for each in notes[2]] == [None, "here"]
    assert list(Reporter(None).earlier()) == []


def test_a_worse_trial_is_stopped(study: tuple[str, optuna.Study]) -> None:
    url, stored = study
    first, second = stored.ask(), stored.ask()
    Reporter({"study_name": "s", "storage": url, "number": 0}).report(0, 1.0)
    stored.tell(first, 1.0)
    assert not Reporter({"study_name": "s", "storage": url, "number": second.number}).report(0, 0.5)


def test_several_objectives_are_never_pruned(tmp_path: Path) -> None:
    url = f"journal://{tmp_path}/m.journal"
    optuna.create_study(study_name="m", storage=open_storage(url), directions=["minimize", "maximize"]).ask()
    assert Reporter({"study_name": "m", "storage": url, "number": 0}).report(0, 1.0)


def test_only_pruners_are_made_from_what_a_study_says() -> None:
    for node in ({"_target_": "os.system", "command": "true"}, {"_target_": "optuna.pruners.Nop"}, {}):
        with pytest.raises(UserError, match=r"optuna\.pruners\.MedianPruner"):
            build_pruner(node)
    with pytest.raises(UserError, match="patience is not an argument of MedianPruner"):
        build_pruner({"_target_": "optuna.pruners.MedianPruner", "patience": 3})


def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    url = f"journal://{tmp_path}/t.journal"
    study = optuna.create_study(study_name="t", storage=open_storage(url))
    study.tell(study.ask(), 1.0)
    with (tmp_path / "t.journal").open("a") as file:
        file.write('{"op_code": 4, "worker')
    again = optuna.load_study(study_name="t", storage=open_storage(url))
    again.tell(again.ask(), 2.0)
    states = [t.state for t in optuna.load_study(study_name="t", storage=open_storage(url)).trials]
    assert states == [TrialState.COMPLETE] * 2


def test_a_study_that_this_machine_does_not_have(tmp_path: Path) -> None:
    url = f"journal://{tmp_path}/not-shared.journal"
    with pytest.raises(UserError, match=r"holds no study 's' on this machine; .* all machines share"):
        Reporter({"study_name": "s", "storage": url, "number": 0}).report(0, 1.0)
