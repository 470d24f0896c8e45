"""Workers that die in the moments in which it is hard to notice."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from rnn_sweep.launch import processes
from rnn_sweep.watchdog import Overdue
from tests.faults.conftest import LONG, Record
from tests.faults.harness import pause, seeded
from tests.launch.conftest import MakePool, events, make_pool, sweep_dir  # noqa: F401 - fixtures
from tests.launch.launch_app import await_event
from tests.launch.launching import alive

LINGER = """
import os, sys, time
if any("popen_loky_posix" in part for part in sys.orig_argv):
    with open(os.environ["STARTED"], "a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(0.2)
"""
"""What each Python runs first: a worker says that it starts, and takes its time."""


@pytest.mark.usefixtures("hydra_restore_singletons")
def test_a_worker_is_killed_while_it_starts(
    make_pool: MakePool,  # noqa: F811
    record: Record,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chance, times, started = seeded("start"), 20 if LONG else 3, tmp_path / "started"
    (tmp_path / "sitecustomize.py").write_text(LINGER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("STARTED", str(started))
    monkeypatch.setenv("COLD_WORKERS", "1")
    for number in range(times):
        started.write_text("")
        pool = make_pool(n_jobs=1)
        future = pool.submit([f"value={number}"], number)
        while not started.read_text().endswith("\n"):
            assert not future.done()
        pause(chance, 0.2)
        os.kill(int(started.read_text()), signal.SIGKILL)
        assert future.result(30).return_value == 2 * number
        assert len(started.read_text().split()) == 2, "the job's first worker was not killed"
        pool.close(kill=True)
    record("`kill -9` of a worker before its job has begun: the job gets a new one", tried=times)


def test_a_job_is_given_to_a_worker_that_is_dying(make_pool: MakePool, events: Path, record: Record) -> None:  # noqa: F811
    pool = make_pool(n_jobs=1)
    pool.submit([], 0).result()
    pid = await_event(events, "start-0")
    os.kill(pid, signal.SIGSTOP)  # alive as far as the system knows, but it will not begin anything
    future = pool.submit(["mode=pid"], 1)
    pause(seeded("dying"), 0.2)
    os.kill(pid, signal.SIGKILL)
    assert future.result(30).return_value != pid
    record("`kill -9` of an idle worker in the moment in which it is given a job")


def test_a_job_that_hangs_is_killed(
    make_pool: MakePool,  # noqa: F811
    events: Path,  # noqa: F811
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "OVERDUE_SECONDS", 0.5)
    pool = make_pool(n_jobs=1)
    future = pool.submit(["mode=hang", "value=0.2"], 0)
    with pytest.raises(Overdue, match=r"limit: the run has not ended within 0\.2 s; it hung, and its worker"):
        future.result(30)
    assert not alive(await_event(events, "start-0"))
    assert pool.submit(["value=1"], 1).result(30).return_value == 2
    record("a job hangs in a worker and outlives the deadline that it announced: the slot gets a new worker")
