"""``rnn-sweep watch`` over a real sweep's study, and one with a sweeper that was killed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import optuna
import pytest

from rnn_sweep.commands.watch import sparkline
from rnn_sweep.sweep.heartbeat import machine
from tests.commands.conftest import Command
from tests.conftest import STUDY


def test_a_sparkline_goes_from_the_least_to_the_most() -> None:
    assert sparkline([0.0, 0.5, math.nan, 1.0]) == "▁▅█"
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert sparkline([]) == ""
    assert len(sparkline([float(n) for n in range(1000)])) <= 16
    assert sparkline([*([0.0] * 99), 1.0])[-1] == "█", "the last value is always there"


def test_what_runs_and_who_runs_it(tmp_path: Path, rnn_sweep: Command) -> None:
    (tmp_path / "studies").mkdir()
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(tmp_path / "studies" / "s.journal"))
    )
    study = optuna.create_study(study_name="s", storage=storage, direction="maximize")
    study.set_user_attr("sweep", {"n_trials": 10})
    study.set_user_attr("sweeper:ab", {"machine": machine(), "pid": 1, "start": -1, "beat": 3})
    study.set_user_attr("sweeper:cd", {"machine": "elsewhere boot", "pid": 7, "start": 1, "beat": 5})
    study.set_user_attr("sweeper:ef", {"machine": machine(), "pid": 2, "start": 2, "ended": True})
    study.tell(study.ask(), 0.5)
    trial = study.ask()
    trial.suggest_float("optimizer.lr", 0, 1)
    trial.report(0.25, 1)
    trial.report(math.nan, 2)
    told = json.loads(rnn_sweep(tmp_path, "watch", "s", "--json").out)
    assert (told["ended"], told["budget"], told["counts"]) == (1, 10, {"complete": 1, "running": 1})
    assert told["best"]["number"] == 0
    first = told["trials"][0]
    assert (first["number"], first["state"], first["epoch"], first["values"]) == (1, "running", 2, [0.25, None])
    assert {(w["id"], w["host"], w["state"]) for w in told["workers"]} == {
        ("ab", machine().split()[0], "dead"),
        ("cd", "elsewhere", "beat 5"),
    }
    drawn = rnn_sweep(tmp_path, "watch", "s", "--once")
    assert drawn.status == 0
    for words in ("1/10 ended", "1 running", "best: 0.5 (trial 0)", "elsewhere (process 7) beat 5", "lr="):
        assert words in drawn.out
    assert "\x1b" not in drawn.out


@pytest.mark.slow
def test_a_sweep_that_has_ended(swept: Path, rnn_sweep: Command) -> None:
    drawn = rnn_sweep(swept, "watch", STUDY)  # no terminal: one picture
    assert drawn.status == 0
    assert "8/8 ended" in drawn.out
    assert len(json.loads(rnn_sweep(swept, "watch", STUDY, "--json").out)["trials"]) == 8
    assert rnn_sweep(swept, "watch", "smal").status == 2


def test_of_many_trials_the_newest_are_shown(tmp_path: Path) -> None:
    from rnn_sweep.sweep.status import look

    study = optuna.create_study(direction="minimize")
    done = optuna.trial.create_trial(value=1.0, params={}, distributions={}, intermediate_values={1: 1.0})
    study.add_trials([done] * 10_000)
    status = look(study, 20)
    assert (status.ended, len(status.trials)) == (10_000, 20)
