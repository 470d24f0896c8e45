"""Sweepers that die and sweepers that share a study, as real processes."""

from __future__ import annotations

import os
import re
import signal
import time

import psutil
import pytest
import yaml
from optuna.trial import TrialState

from tests.integration import services
from tests.sweep.conftest import Sweeps

pytestmark = pytest.mark.slow  # real processes

SPHERE = "sphere/app.py"
X = "x=interval(-5,5)"
PROCESSES = "hydra/launcher=processes"


def test_a_killed_sweeper_is_resumed(sweeps: Sweeps) -> None:
    args = [SPHERE, X, "hydra.sweeper.study_name=k", "hydra.sweeper.n_trials=4"]
    first = sweeps.start(*args, "seconds=60")
    sweeps.wait_for("k", lambda trials: trials and "overrides" in trials[0].user_attrs)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    left = [t for t in sweeps.study("k").trials if t.state is TrialState.RUNNING]
    assert len(left) == 1
    out, _ = sweeps.run(*args)
    trials = sweeps.study("k").trials
    assert not [t for t in trials if t.state in (TrialState.RUNNING, TrialState.WAITING)]
    again = [t for t in trials if t.user_attrs.get("retry_of") == left[0].number]
    assert [t.params for t in again] == [left[0].params]
    assert trials[left[0].number].state is TrialState.FAIL
    assert trials[left[0].number].user_attrs["cause"] == "its sweeper died"
    assert sum(t.state is TrialState.COMPLETE for t in trials) == 4
    assert "will be tried again with the same parameters" in out


def test_orphans_are_tried_again_only_so_often(sweeps: Sweeps) -> None:
    args = [SPHERE, X, "seconds=60", "hydra.sweeper.study_name=k", "hydra.sweeper.n_trials=1"]
    for attempt in range(3):
        killed = sweeps.start(*args)
        sweeps.wait_for(
            "k",
            lambda trials, n=attempt: (
                len(trials) == n + 1 and trials[n].state is TrialState.RUNNING and "overrides" in trials[n].user_attrs
            ),
        )
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
    sweeps.run(*args, status=1)
    trials = sweeps.study("k").trials
    assert [t.state for t in trials] == [TrialState.FAIL] * 3
    assert len({tuple(t.params.items()) for t in trials}) == 1


def test_two_sweepers_share_a_study(sweeps: Sweeps) -> None:
    args = [SPHERE, X, "seconds=0.05", "hydra.sweeper.study_name=s", "hydra.sweeper.n_trials=16"]
    both = [sweeps.start(*args, f"hydra.sweep.dir=out{i}", "hydra.sweeper.sampler.seed=1") for i in range(2)]
    outs = [process.communicate(timeout=100) for process in both]
    assert [process.returncode for process in both] == [0, 0], outs
    trials = sweeps.study("s").trials
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 16
    assert len({t.user_attrs["sweeper"] for t in trials}) == 2
    assert len({t.params["x"] for t in trials}) == 16, "seeded alike, they still go different ways"
    jobs = [sorted(int(p.name) for p in (sweeps.folder / f"out{i}").iterdir() if p.name.isdigit()) for i in range(2)]
    assert sorted(jobs[0] + jobs[1]) == list(range(16))


def test_a_live_sweepers_trials_are_left_alone(sweeps: Sweeps) -> None:
    args = ["fate.py", X, "hydra.sweeper.study_name=s", "hydra.sweeper.n_trials=3"]
    slow = sweeps.start(*args, "fate=wait")
    sweeps.wait_for("s", lambda trials: trials and "overrides" in trials[0].user_attrs)
    out, _ = sweeps.run(*args, "hydra.sweep.dir=other")
    assert "died" not in out
    assert sweeps.study("s").trials[0].state is TrialState.RUNNING
    (sweeps.folder / "go").touch()
    slow.communicate(timeout=60)
    trials = sweeps.study("s").trials
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 3
    assert trials[0].user_attrs["sweeper"] != trials[1].user_attrs["sweeper"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_leaves_the_study_in_order(sweeps: Sweeps, number: signal.Signals) -> None:
    args = [SPHERE, X, "hydra.sweeper.study_name=i", "hydra.sweeper.n_trials=3"]
    process = sweeps.start(*args, "seconds=30")
    sweeps.wait_for("i", lambda trials: trials and "overrides" in trials[0].user_attrs)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err
    assert "go on with" in out
    trials = sweeps.study("i").trials
    assert [t.state for t in trials] == [TrialState.FAIL, TrialState.WAITING]
    sweeps.run(*args)
    trials = sweeps.study("i").trials
    assert trials[1].params == trials[0].params
    assert sum(t.state is TrialState.COMPLETE for t in trials) == 3


def test_ctrl_c_with_worker_processes(sweeps: Sweeps) -> None:
    """The terminal sends the signal to the whole group; the second one stops what still runs."""
    args = [SPHERE, X, PROCESSES, "hydra.sweeper.n_jobs=2", "hydra.sweeper.study_name=i", "hydra.sweeper.n_trials=9"]
    process = sweeps.start(*args, "seconds=60")
    sweeps.wait_for("i", lambda trials: sum("overrides" in t.user_attrs for t in trials) >= 2)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "go on with" in out
    states = [t.state for t in sweeps.study("i").trials]
    assert TrialState.RUNNING not in states
    assert states.count(TrialState.WAITING) == 2


def test_ctrl_c_twice_ends_the_jobs_of_submitit_local(sweeps: Sweeps) -> None:
    """The signals reach the sweeper alone, as those of a service manager do."""
    args = [SPHERE, X, "hydra/launcher=submitit_local", "hydra.sweeper.n_jobs=2", "hydra.sweeper.study_name=i"]
    process = sweeps.start(*args, "seconds=600", "hydra.sweeper.n_trials=9")
    children = psutil.Process(process.pid)
    services.wait_until("two jobs", lambda: sum("_submit" in _words(p) for p in children.children(recursive=True)) == 2)
    jobs = children.children(recursive=True)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(1)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert not psutil.wait_procs(jobs, timeout=30)[1]
    states = [t.state for t in sweeps.study("i").trials]
    assert (states.count(TrialState.WAITING), states.count(TrialState.RUNNING)) == (2, 0)


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


@pytest.mark.parametrize(
    "launcher",
    [
        "processes",
        pytest.param("joblib", marks=pytest.mark.slow),
        pytest.param("submitit_local", marks=pytest.mark.slow),
    ],
)
def test_worker_processes_report_and_prune(sweeps: Sweeps, launcher: str) -> None:
    """Jobs in other processes reach the study by every launcher."""
    sweeps.run(
        "curve.py", "slope=choice(1,0.1,0.2,0.3)", "hydra.sweeper.direction=maximize",
        f"hydra/launcher={launcher}",
        "hydra.sweeper.n_trials=8", "hydra.sweeper.n_jobs=2", "hydra.sweeper.study_name=p",
        "hydra.sweep.dir=out", "hydra/sweeper/pruner=median", "hydra.sweeper.pruner.n_startup_trials=1",
        "hydra.sweeper.sampler.seed=1",
    )  # fmt: skip
    states = {t.state for t in sweeps.study("p").trials}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}


def test_a_killed_worker_costs_its_own_trial_alone(sweeps: Sweeps) -> None:
    sweeps.run(
        "fate.py", "x=interval(0,1)", "fate=die", "once=true", PROCESSES, "hydra.sweeper.n_trials=4",
        "hydra.sweeper.n_jobs=1", "hydra.sweeper.study_name=w",
    )  # fmt: skip
    trials = sweeps.study("w").trials
    assert [t.state.name for t in trials] == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert "SIGKILL" in trials[0].user_attrs["cause"]
    again = next(t for t in trials if t.user_attrs.get("retry_of") == 0)
    assert again.params == trials[0].params


def test_deterministic_with_two_slots(sweeps: Sweeps) -> None:
    """Trials of uneven length, so that they end in another order than they began."""
    for name, seconds in (("a", "x=range(-3,4)"), ("b", "x=range(-3,4)")):
        sweeps.run(
            "fate.py", seconds, "seconds=choice(0,0.3)", PROCESSES, "hydra.sweeper.n_jobs=2",
            "hydra.sweeper.n_trials=14", "hydra.sweeper.deterministic=true", "hydra.sweeper.sampler.seed=1",
            f"hydra.sweeper.study_name={name}",
        )  # fmt: skip
    a, b = ([t.params for t in sweeps.study(name).trials] for name in ("a", "b"))
    assert a == b


def test_time_is_up_for_what_runs(sweeps: Sweeps) -> None:
    out, _ = sweeps.run(
        SPHERE, X, "seconds=choice(0,60)", PROCESSES, "hydra.sweeper.n_jobs=2", "hydra.sweeper.timeout=6",
        "hydra.sweeper.enqueue=[{seconds:60}]", "hydra.sweeper.study_name=t", "hydra.sweeper.n_trials=4",
    )  # fmt: skip
    assert "the time is up" in out
    trials = sweeps.study("t").trials
    stopped = [t for t in trials if t.params.get("seconds") == 60 and t.state is TrialState.FAIL]
    assert stopped
    assert "the time is up" in stopped[0].user_attrs["cause"]
    assert not [t for t in trials if t.state is TrialState.RUNNING]


def test_a_password_is_recorded_nowhere(sweeps: Sweeps) -> None:
    """SQLite ignores user and password of its URL, which makes it a store with a secret to try this on."""
    url = "sqlite://me:hunter2@/a.db"
    name = "hydra.sweeper.study_name=s"
    out, err = sweeps.run(SPHERE, X, f"hydra.sweeper.storage={url}", name, "hydra.sweeper.n_trials=1", status=2)
    assert "hunter2" not in out + err
    assert re.search("hydra.sweeper.storage=sqlite://me@/a.db cannot be opened", err)


def test_names_of_folders_from_overrides(sweeps: Sweeps) -> None:
    sweeps.run(
        SPHERE, X, "hydra.sweep.subdir=${hydra.job.override_dirname}", "hydra.sweeper.n_trials=1",
        "hydra.sweeper.study_name=s",
    )  # fmt: skip
    config = yaml.safe_load((sweeps.folder / "out" / "x=1.0" / ".hydra" / "config.yaml").read_text())
    assert config["trial"]["study_name"] == "s"


def test_two_sweeps_of_one_moment_have_folders_of_their_own(sweeps: Sweeps) -> None:
    """Named by the year, which is the same for both; each of the two studies has its jobs where it says."""
    line = ["fate.py", X, "seconds=0.5", "hydra.sweeper.n_trials=3", "hydra.sweep.dir=out/${now:%Y}"]
    both = [sweeps.start(*line, f"hydra.sweeper.study_name={name}") for name in "ab"]
    for process in both:
        _, err = process.communicate(timeout=100)
        assert process.returncode == 0, err
    first, second = sorted((sweeps.folder / "out").iterdir())
    assert second.name == f"{first.name}-2"
    for folder in (first, second):
        jobs = sorted(folder.glob("*/.hydra/config.yaml"))
        owners = {yaml.safe_load(path.read_text())["trial"]["study_name"] for path in jobs}
        content = yaml.safe_load((folder / "optimization_results.yaml").read_text())
        assert (len(jobs), owners) == (3, {content["study_name"]})


@pytest.mark.parametrize("sampler", ["grid", "brute_force"])
def test_a_killed_worker_of_a_sampler_with_a_plan(sweeps: Sweeps, sampler: str) -> None:
    out, _ = sweeps.run(
        "fate.py", "x=choice(0.0,1.0)", "fate=die", "once=true", PROCESSES, "hydra.sweeper.n_jobs=1",
        "hydra.sweeper.study_name=w", f"hydra/sweeper/sampler={sampler}",
    )  # fmt: skip
    trials = sweeps.study("w").trials
    assert [t.state.name for t in trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert {t.params["x"] for t in trials[1:]} == {0.0, 1.0}
    assert "every point of the space was tried" in out
