"""The pool over any launcher: never a batch, failures as data, nothing left behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hydra.core.singleton import Singleton
from hydra.core.utils import JobStatus

from rnn_sweep.sweep.slot_threads import WorkerDied
from tests.launch.conftest import MakePool
from tests.launch.launch_app import await_event, happen
from tests.launch.launching import alive

pytestmark = pytest.mark.slow  # real processes

SLOW = pytest.mark.slow
ELSEWHERE = ["processes", pytest.param("joblib", marks=SLOW), pytest.param("submitit_local", marks=SLOW)]


@pytest.mark.parametrize("launcher", ELSEWHERE)
def test_a_free_slot_never_waits_for_a_busy_one(make_pool: MakePool, launcher: str) -> None:
    pool = make_pool(launcher)
    assert pool.slots == 2
    # Job 0 ends only when jobs 1 to 3 have ended in the other slot: in batches of two it would wait for ever.
    uneven = pool.submit(["wait_for=[end-1,end-2,end-3]"], 0)
    even = [pool.submit([f"value={10 * number}"], number) for number in (1, 2, 3)]
    assert [future.result().return_value for future in even] == [11, 22, 33]
    assert uneven.result().return_value == 0


@pytest.mark.parametrize("launcher", ELSEWHERE)
def test_a_killed_worker_is_reported_and_its_slot_works_again(make_pool: MakePool, events: Path, launcher: str) -> None:
    pool = make_pool(launcher)
    victim = pool.submit(["wait_for=[never]"], 0)
    os.kill(await_event(events, "start-0"), signal.SIGKILL)
    with pytest.raises(WorkerDied) as caught:
        victim.result()
    assert "\n" not in str(caught.value)
    assert [pool.submit([], number).result().return_value for number in (1, 2, 3)] == [1, 2, 3]


def test_only_the_killed_workers_job_fails(make_pool: MakePool, events: Path) -> None:
    pool = make_pool()
    bystander = pool.submit(["wait_for=[killed]"], 0)
    victim = pool.submit(["wait_for=[never]"], 1)
    await_event(events, "start-0")
    os.kill(await_event(events, "start-1"), signal.SIGKILL)
    with pytest.raises(WorkerDied, match=r"SIGKILL\(-9\) \(killed from outside"):
        victim.result()
    happen(events, "killed")
    assert bystander.result().return_value == 0
    both = [pool.submit(["wait_for=[end-3]"], 2), pool.submit([], 3)]
    assert [future.result().return_value for future in both] == [2, 3]


def test_a_worker_killed_between_two_jobs_fails_none(make_pool: MakePool, events: Path) -> None:
    pool = make_pool(n_jobs=1)
    pid = pool.submit(["mode=pid"], 0).result().return_value
    os.kill(pid, signal.SIGKILL)
    while alive(pid):
        pass
    assert pool.submit(["mode=pid"], 1).result().return_value != pid


def test_a_job_that_ends_its_process_is_a_dead_worker(make_pool: MakePool) -> None:
    with pytest.raises(WorkerDied, match=r"EXIT\(7\)"):
        make_pool().submit(["mode=die"], 0).result()


@pytest.mark.parametrize("launcher", ["basic", *ELSEWHERE])
def test_an_exception_of_the_task_is_a_failed_job(make_pool: MakePool, launcher: str) -> None:
    pool = make_pool(launcher)
    failed = pool.submit(["mode=raise"], 0).result()
    assert failed.status == JobStatus.FAILED
    with pytest.raises(ZeroDivisionError):
        _ = failed.return_value
    assert pool.submit([], 1).result().return_value == 1


@pytest.mark.parametrize("launcher", ["basic", "processes"])
def test_a_config_that_does_not_compose_fails_its_own_job(make_pool: MakePool, launcher: str) -> None:
    pool = make_pool(launcher)
    with pytest.raises(Exception, match="Could not override 'no_such_key'"):
        pool.submit(["no_such_key=1"], 0).result()
    assert pool.submit([], 1).result().return_value == 1


def test_the_basic_launcher_runs_inline_in_one_slot(make_pool: MakePool) -> None:
    pool = make_pool("basic")
    assert pool.slots == 1
    future = pool.submit(["mode=pid"], 0)
    assert future.done()
    assert future.result().return_value == os.getpid()


def test_sys_exit_inline_fails_its_job_and_not_the_sweep(make_pool: MakePool) -> None:
    with pytest.raises(RuntimeError, match=r"sys\.exit\(3\)"):
        make_pool("basic").submit(["mode=exit"], 0).result()


def test_joblib_with_one_slot_runs_in_the_calling_thread(make_pool: MakePool) -> None:
    pool = make_pool("joblib", n_jobs=1)
    assert pool.submit(["mode=pid"], 0).result().return_value == os.getpid()


@SLOW
def test_the_sweepers_number_of_jobs_rules_over_the_launchers(make_pool: MakePool) -> None:
    pool = make_pool("joblib", "hydra.launcher.n_jobs=1")
    together = [pool.submit(["wait_for=[start-1]"], 0), pool.submit(["wait_for=[start-0]"], 1)]
    assert [future.result().return_value for future in together] == [0, 1]


@SLOW
def test_many_launches_from_threads_leave_hydras_state_whole(make_pool: MakePool, sweep_dir: Path) -> None:
    """Threads that enter Hydra at the same time: a race that only many launches show."""
    before = Singleton.__dict__["get_state"]
    pool = make_pool("joblib", n_jobs=4)
    futures = [pool.submit([f"value={number}"], number) for number in range(24)]
    assert [future.result().return_value for future in futures] == [2 * number for number in range(24)]
    pool.close()
    assert Singleton.__dict__["get_state"] is before
    assert all((sweep_dir / str(number) / ".hydra" / "config.yaml").exists() for number in range(24))


@pytest.mark.parametrize("launcher", ["processes", pytest.param("joblib", marks=SLOW)])
def test_closing_with_kill_drops_waiting_jobs_and_ends_running_ones(
    make_pool: MakePool, events: Path, launcher: str
) -> None:
    """Each launcher's processes really end."""
    pool = make_pool(launcher)
    running = [pool.submit(["wait_for=[never]"], number) for number in (0, 1)]
    waiting = pool.submit([], 2)
    for number in (0, 1):
        await_event(events, f"start-{number}")
    pool.close(kill=True)
    for future in running:
        with pytest.raises(WorkerDied):
            future.result()
    assert waiting.cancelled()
    assert not (events / "start-2").exists()


def test_closing_lets_submitted_jobs_finish(make_pool: MakePool, events: Path) -> None:
    pool = make_pool()
    futures = [pool.submit([], number) for number in range(4)]
    pool.close()
    assert [future.result().return_value for future in futures] == [0, 1, 2, 3]


def test_a_number_of_jobs_below_one_is_refused(make_pool: MakePool) -> None:
    with pytest.raises(ValueError, match="received 0"):
        make_pool(n_jobs=0)
