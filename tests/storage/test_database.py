"""What a list of trials holds that was not read from the database again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from rnn_sweep.storage import at_once, open_storage, tables
from rnn_sweep.storage.database import REUSE_SECONDS, Database

Pair = tuple[optuna.Study, optuna.Study]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Two sweepers' views of one study."""
    storages = [open_storage(f"sqlite:///{tmp_path}/s.db") for _ in range(2)]
    studies = [optuna.create_study(study_name="s", storage=each, load_if_exists=True) for each in storages]
    yield studies[0], studies[1]
    for each in storages:
        each._patience.storage._backend.engine.dispose()


def numbers(study: optuna.Study) -> list[int]:
    return [t.number for t in study.get_trials(deepcopy=False)]


def test_a_created_trial_comes_with_all_that_were_created_before_it(pair: Pair) -> None:
    mine, other = pair
    mine.ask()
    assert numbers(mine) == [0]
    for count in range(1, 20, 2):
        other.ask()
        assert mine.ask().number == count + 1
        assert numbers(mine) == list(range(count + 2))


def test_what_others_did_is_seen_soon(pair: Pair) -> None:
    mine, other = pair
    assert numbers(mine) == []
    other.tell(other.ask(), 1.0)
    time.sleep(1.5 * REUSE_SECONDS)
    assert [t.state for t in mine.get_trials(deepcopy=False)] == [TrialState.COMPLETE]


def test_what_was_told_is_seen_at_once(pair: Pair) -> None:
    mine, _ = pair
    trial = mine.ask()
    trial.suggest_float("x", 0, 1)
    trial.set_user_attr("a", 1)
    told = mine.tell(trial, 2.0)
    assert (told.state, told.values, told.user_attrs) == (TrialState.COMPLETE, [2.0], {"a": 1})
    (seen,) = mine.get_trials(deepcopy=False)
    assert (seen.value, seen.params) == (2.0, trial.params)


def test_whatever_is_written_to_a_trial_of_another_sweeper_is_in_the_next_list(pair: Pair) -> None:
    """As when a sweeper adopts a dead one's trial: why it failed decides at once whether it is tried again."""
    mine, other = pair
    trial_id = other.ask()._trial_id
    (before,) = mine.get_trials(deepcopy=False)
    storage = mine._storage
    storage.set_trial_param(trial_id, "x", 1, CategoricalDistribution(["a", "b"]))
    storage.set_trial_user_attr(trial_id, "failure", "orphaned")
    storage.set_trial_system_attr(trial_id, "k", 1)
    storage.set_trial_intermediate_value(trial_id, 3, 0.5)
    storage.set_trial_state_values(trial_id, TrialState.FAIL)
    (seen,) = mine.get_trials(deepcopy=False)
    time.sleep(1.5 * REUSE_SECONDS)
    (stored,) = mine.get_trials(deepcopy=False)
    for trial in (seen, stored):
        assert (trial.state, trial.params, trial.user_attrs) == (TrialState.FAIL, {"x": "b"}, {"failure": "orphaned"})
        assert (trial.system_attrs, trial.intermediate_values) == ({"k": 1}, {3: 0.5})
        assert trial.distributions == {"x": CategoricalDistribution(["a", "b"])}
    assert not before.user_attrs, "a list that was given out has changed"


def test_a_jobs_reports_are_seen_by_the_tell(pair: Pair) -> None:
    mine, job = pair
    trial = mine.ask()
    numbers(mine)
    job._storage.set_trial_intermediate_value(trial._trial_id, 0, 3.0)
    assert mine.tell(trial, state=TrialState.PRUNED).value == 3.0


def test_a_job_sees_its_own_reports_and_soon_what_the_sweeper_did(pair: Pair) -> None:
    sweeper, job = pair
    trial = sweeper.ask()
    storage, trial_id = job._storage, trial._trial_id
    for step in range(3):
        storage.set_trial_intermediate_value(trial_id, step, 0.5)
        assert list(storage.get_trial(trial_id).intermediate_values) == list(range(step + 1))
    sweeper._storage.set_trial_user_attr(trial_id, "of the sweeper", 1)
    storage.set_trial_user_attr(trial_id, "of the job", 1)
    assert set(storage.get_trial(trial_id).user_attrs) == {"of the sweeper", "of the job"}
    sweeper.tell(trial, state=TrialState.FAIL)
    time.sleep(1.5 * REUSE_SECONDS)
    assert storage.get_trial(trial_id).state is TrialState.FAIL


def test_trials_are_read_as_optuna_reads_them(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = pair
    monkeypatch.setattr(tables, "CHUNK", 2)
    space = {"b": FloatDistribution(0, 1), "a": CategoricalDistribution(["x", None, 3])}
    inf, nan = float("inf"), float("nan")
    for value, steps in ((1.5, {2: inf, 10: 0.5, 1: nan}), (inf, {}), (-inf, {0: -inf})):
        notes = {"user_attrs": {"ü": [1, {"k": None}]}, "system_attrs": {"s": "t"}, "intermediate_values": steps}
        mine.add_trial(create_trial(params={"b": 0.25, "a": None}, distributions=space, value=value, **notes))
    other.enqueue_trial({"b": 1.0})
    mine.ask(space)
    mine.tell(mine.ask(), state=TrialState.FAIL)
    plain = RDBStorage(f"sqlite:///{tmp_path}/s.db")
    expected = plain.get_all_trials(mine._study_id)
    plain.engine.dispose()
    time.sleep(1.5 * REUSE_SECONDS)
    for study in pair:
        assert repr(study.get_trials(deepcopy=False)) == repr(expected), "NaN does not equal itself"
    assert [t.number for t in mine.get_trials(states=(TrialState.FAIL,))] == [4]
    with pytest.raises(KeyError):
        mine._storage.get_all_trials(99)


@pytest.mark.parametrize("answer_lost", [False, True])
def test_what_is_kept_back_is_written_at_the_end(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, answer_lost: bool
) -> None:
    mine = pair[0]
    database: Database = mine._storage._patience.storage
    monkeypatch.setattr("rnn_sweep.storage.database.REUSE_SECONDS", 60.0)  # to read is to write first
    mine.ask().suggest_float("x", 0, 1)
    trial, third = mine.ask(), mine.ask()
    trial.set_user_attr("first", 1)
    with at_once(mine._storage):
        trial.suggest_float("x", 0, 1)
        with pytest.raises(ValueError, match="different distribution"):
            third.suggest_categorical("x", [0, 1])
        for value in (2, 3):
            trial.set_user_attr("first", value)
            trial.set_user_attr("second", value)
        own, stored = mine.get_trials(deepcopy=False)[1], database._backend.get_trial(trial._trial_id)
        assert (own.params, own.user_attrs) == (trial.params, {"first": 3, "second": 3})
        assert (stored.params, stored.user_attrs) == ({}, {"first": 3})
        if answer_lost:
            tables.write_notes(database._backend.engine, trial._trial_id, database._held[trial._trial_id])
    stored = database._backend.get_trial(trial._trial_id)
    assert (stored.params, stored.user_attrs) == (trial.params, {"first": 3, "second": 3})


def test_a_trial_ends_after_all_that_was_written_to_it(pair: Pair) -> None:
    mine, other = pair
    with at_once(mine._storage):
        trial = mine.ask()
        trial.set_user_attr("a", 1)
        mine.tell(trial, 1.0)
        (seen,) = other.get_trials(deepcopy=False)
        assert (seen.value, seen.user_attrs) == (1.0, {"a": 1})
