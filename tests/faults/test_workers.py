"""Workers that die in the moments in which it is hard to notice."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.faults.conftest import LONG, Record
from tests.faults.harness import pause, seeded, worker_processes
from tests.launch.conftest import MakePool, events, make_pool, sweep_dir  # noqa: F401 - fixtures
from tests.launch.launch_app import await_event


@pytest.mark.usefixtures("hydra_restore_singletons")
def test_a_worker_is_killed_while_it_starts(make_pool: MakePool, events: Path, record: Record) -> None:  # noqa: F811
    chance, times = seeded("start"), 20 if LONG else 3
    killed = number = 0
    while killed < times:
        assert number < 5 * times, "no worker was seen before its job had ended"
        pool = make_pool(n_jobs=1)
        future = pool.submit([f"value={number}"], number)
        while not (found := worker_processes(psutil.Process())) and not future.done():
            pass
        if found:
            pause(chance, 0.1)
        if found and not (events / f"start-{number}").exists():
            found[0].kill()
            killed += 1
        assert future.result(30).return_value == 2 * number
        pool.close(kill=True)
        number += 1
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
