"""Who is alive, judged without any clock of another machine."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import optuna
import pytest

from rnn_sweep.storage import open_storage
from rnn_sweep.sweep import heartbeat
from rnn_sweep.sweep.heartbeat import OWNER_ATTR, PREFIX, Heartbeat, machine, process_start


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return optuna.create_study(study_name="s", storage=open_storage(f"journal://{tmp_path}/s.journal"))


def running(study: optuna.Study, owner: str | None, **entry: object) -> int:
    """A RUNNING trial of a sweeper that is registered with ``entry``."""
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    if owner is not None:
        trial.set_user_attr(OWNER_ATTR, owner)
        if entry:
            study.set_user_attr(PREFIX + owner, entry)
    return trial.number


def test_on_this_machine_the_process_table_decides(study: optuna.Study) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    start = process_start(child.pid)
    assert start is not None
    here = {"machine": machine(), "pid": child.pid, "beat": 1}
    alive = running(study, "alive", **here, start=start)
    reused = running(study, "reused", **here, start=start - 1)
    ended = running(study, "ended", **here, start=start, ended=True)
    unknown = running(study, "unknown")
    foreign = running(study, None)
    with Heartbeat(study) as mine:
        own = running(study, mine.id)
        assert [t.number for t in mine.orphans(study.trials)] == [reused, ended, unknown]
        child.communicate(b"\n")
        assert [t.number for t in mine.orphans(study.trials)] == [alive, reused, ended, unknown]
        assert not {own, foreign} & {t.number for t in mine.undecided(study.trials)}


def test_from_elsewhere_silence_decides(study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "SILENCE_SECONDS", 0.2)
    elsewhere = {"machine": "another", "pid": os.getpid(), "start": 1}
    silent = running(study, "silent", **elsewhere, beat=5)
    beating = running(study, "beating", **elsewhere, beat=5)
    with Heartbeat(study) as mine:
        assert mine.orphans(study.trials) == []
        assert [t.number for t in mine.undecided(study.trials)] == [silent, beating]
        time.sleep(0.3)
        study.set_user_attr(f"{PREFIX}beating", {**elsewhere, "beat": 6})
        assert [t.number for t in mine.orphans(study.trials)] == [silent]
        assert mine.undecided(study.trials) == []


def test_a_trial_that_was_never_signed(study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "UNSIGNED_SECONDS", 0.1)
    unsigned = study.ask().number
    with Heartbeat(study) as mine:
        assert mine.orphans(study.trials) == []
        time.sleep(0.2)
        assert [t.number for t in mine.orphans(study.trials)] == [unsigned]


def test_silence_does_not_count_while_nobody_can_write(study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "SILENCE_SECONDS", 0.4)
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.02)
    silent = running(study, "silent", machine="another", pid=os.getpid(), start=1, beat=5)
    there, write = threading.Event(), study.set_user_attr
    there.set()

    def patient_write(key: str, value: object) -> None:
        assert there.wait(20)
        write(key, value)

    monkeypatch.setattr(study, "set_user_attr", patient_write)
    with Heartbeat(study) as mine:
        assert mine.orphans(study.trials) == []
        there.clear()
        time.sleep(0.8)
        assert mine.orphans(study.trials) == []
        there.set()
        time.sleep(0.8)
        assert [t.number for t in mine.orphans(study.trials)] == [silent]


def test_beside_a_live_sweeper_sessions_differ(study: optuna.Study) -> None:
    with Heartbeat(study) as first, Heartbeat(study) as second:
        assert first.session == 0
        assert second.session not in (0, 1)


def test_sessions_are_counted(study: optuna.Study) -> None:
    for session in range(3):
        with Heartbeat(study) as mine:
            assert mine.session == session
