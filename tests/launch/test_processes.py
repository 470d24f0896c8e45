"""``hydra/launcher=processes``: what a job finds in its worker, what comes back, and who outlives whom."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobStatus
from hydra.errors import CompactHydraException

from rnn_sweep.errors import UserError
from rnn_sweep.launch.processes import cores
from rnn_sweep.sweep.pool import open_pool
from tests import warm
from tests.launch.conftest import MakePool
from tests.launch.launch_app import await_event, happen
from tests.launch.launching import HERE, alive, make_launcher

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("hydra_restore_singletons")]


NO_RESULTS: list[tuple[str, type[Exception], str]] = [
    ("raise", ZeroDivisionError, "division by zero"),
    ("unpicklable", RuntimeError, "tests.launch.launch_app.UnpicklableError: "),
    ("two", RuntimeError, "tests.launch.launch_app.TwoArgumentsError: a and b"),
    ("lock", TypeError, "the job's return value, a _thread.lock, cannot be sent to the sweep's process"),
    ("exit", RuntimeError, r"the job ended with SystemExit\(3\)"),
]


def test_what_cannot_be_a_result_is_a_failed_job(make_pool: MakePool) -> None:
    pool = make_pool(n_jobs=1)
    for number, (mode, kind, message) in enumerate(NO_RESULTS):
        failed = pool.submit([f"mode={mode}"], 2 * number).result()
        assert failed.status == JobStatus.FAILED
        with pytest.raises(kind, match=message) as caught:
            _ = failed.return_value
        assert ("in act" in str(caught.value.__cause__)) == (mode in {"raise", "unpicklable", "two"})
        assert pool.submit([], 2 * number + 1).result().return_value == 2 * number + 1


def test_a_worker_is_reused_and_each_job_has_its_own_folder_and_log(make_pool: MakePool, sweep_dir: Path) -> None:
    pool = make_pool(n_jobs=1)
    pids = {pool.submit(["mode=pid"], number).result().return_value for number in range(3)}
    assert len(pids) == 1
    assert os.getpid() not in pids
    for number in range(3):
        log = (sweep_dir / str(number) / "launch_app.log").read_text()
        assert [line.partition(" - ")[2] for line in log.splitlines()] == [f"line of job {number}"]


def test_the_working_directory_is_the_sweeps_or_the_jobs(make_pool: MakePool, sweep_dir: Path) -> None:
    pool = make_pool(n_jobs=1)
    pool.submit(["mode=stray"], 0).result()
    assert pool.submit(["mode=where"], 1).result().return_value == os.getcwd()
    in_jobs = pool.submit(["mode=where", "hydra.job.chdir=true"], 2).result()
    assert in_jobs.return_value == str(sweep_dir / "2")


@pytest.mark.parametrize(("visible", "seen"), [("3,GPU-a", ["3", "3", "GPU-a"]), ("3", ["3"] * 3), ("", [""] * 3)])
def test_each_worker_sees_one_gpu(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, visible: str, seen: list[str]
) -> None:
    """The environment of real workers, which is set before anything is imported."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    pool = make_pool(n_jobs=3)
    together = "wait_for=[start-0,start-1,start-2]"
    jobs = [pool.submit(["mode=gpus", together], number) for number in range(3)]
    assert sorted(job.result().return_value for job in jobs) == seen


def test_environment_and_threads_of_a_job(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    pool = make_pool("processes", "+hydra.job.env_set.FLAVOUR=sweet", n_jobs=1)
    assert pool.submit(["mode=variables"], 0).result().return_value == ("sweet", str(cores()))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    theirs = make_pool(n_jobs=1)
    assert theirs.submit(["mode=variables"], 0).result().return_value == (None, "3")


def test_many_short_jobs(make_pool: MakePool) -> None:
    """Results come back in order, and none is lost between workers that are always busy."""
    pool = make_pool()
    futures = [pool.submit([f"value={number}"], number) for number in range(60)]
    assert [future.result().return_value for future in futures] == [2 * number for number in range(60)]


def test_fewer_jobs_than_slots_start_fewer_workers(make_pool: MakePool) -> None:
    pool = make_pool(n_jobs=64)
    assert len({pool.submit(["mode=pid"], number).result().return_value for number in range(3)}) == 1


def test_a_grid_runs_in_parallel_and_comes_back_in_order(sweep_dir: Path) -> None:
    launcher = make_launcher(sweep_dir, "processes", "hydra.launcher.n_jobs=2")
    returns = launcher.launch([["wait_for=[end-6,end-7]"], ["value=1"], ["value=2"]], 5)
    assert [each.return_value for each in returns] == [5, 7, 9]
    failing = launcher.launch([["mode=raise"], ["mode=die"], []], 8)
    assert [each.status for each in failing] == [JobStatus.FAILED, JobStatus.FAILED, JobStatus.COMPLETED]
    launcher.close()


def test_a_grid_that_does_not_compose_leaves_no_worker(sweep_dir: Path) -> None:
    launcher = make_launcher(sweep_dir, "processes", "hydra.launcher.n_jobs=2")
    with pytest.raises(Exception, match="no_such_key"):
        launcher.launch([["no_such_key=1"], ["wait_for=[never]"]], 0)
    if (sweep_dir / "events" / "start-1").exists():
        assert not alive(await_event(sweep_dir / "events", "start-1"))


def test_mistakes_are_one_message(sweep_dir: Path) -> None:
    with pytest.raises(CompactHydraException, match=r"hydra\.launcher\.n_jobs: must be at least 1.*received 0"):
        make_launcher(sweep_dir, "processes", "hydra.launcher.n_jobs=0").launch([[]], 0)
    lock = threading.Lock()

    def task(_: Any) -> Any:
        return lock

    with pytest.raises(UserError, match=r"must be picklable: cannot pickle '_thread\.lock'"):
        open_pool(make_launcher(sweep_dir, "processes", task=task), 1)


def test_a_stopped_job_is_told_before_it_is_killed(make_pool: MakePool, events: Path) -> None:
    pool = make_pool(n_jobs=1)
    pool.submit(["mode=told", "wait_for=[never]"], 0)
    pid = await_event(events, "start-0")
    pool.close(kill=True)
    assert await_event(events, "told-0") == pid
    assert not alive(pid)


@pytest.fixture
def grid(tmp_path: Path, sweep_dir: Path) -> Any:
    """A grid of two jobs in a process group of its own, as a terminal would run it."""
    command = [sys.executable, str(HERE / "launch_app.py"), "-m", "hydra/launcher=processes"]
    jobs = ["hydra.launcher.n_jobs=2", f"hydra.sweep.dir={sweep_dir}", "wait_for=[never]", "value=1,2"]
    started: list[subprocess.Popen[str]] = []

    def start(*overrides: str) -> subprocess.Popen[str]:
        text = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        started.append(warm.Popen([*command, *jobs, *overrides], cwd=tmp_path, start_new_session=True, **text))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_workers_end_with_a_sweep_that_is_killed(grid: Any, events: Path) -> None:
    process = grid()
    workers = [await_event(events, f"start-{number}") for number in (0, 1)]
    process.kill()
    # The pipe is closed only when its last writer, a worker, is gone.
    process.communicate(timeout=60)
    assert not any(alive(pid) for pid in workers)


def test_ctrl_c_ends_a_grid_and_tells_its_jobs(grid: Any, events: Path) -> None:
    process = grid("mode=told")
    workers = [await_event(events, f"start-{number}") for number in (0, 1)]
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in output
    assert [await_event(events, f"told-{number}") for number in (0, 1)] == workers
    assert not any(alive(pid) for pid in workers)


def test_ctrl_c_does_not_reach_a_running_job(make_pool: MakePool, events: Path) -> None:
    pool = make_pool(n_jobs=1)
    running = pool.submit(["wait_for=[interrupted]"], 0)
    os.kill(await_event(events, "start-0"), signal.SIGINT)
    happen(str(events), "interrupted")
    assert running.result().return_value == 0


def test_the_shell_is_imported_without_what_is_behind_it() -> None:
    code = (
        "import sys, hydra_plugins.rnn_sweep_launchers.processes;"
        "print([m for m in ('loky', 'cloudpickle', 'rnn_sweep.launch', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
