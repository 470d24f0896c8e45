"""Slurm: trials as jobs, a cancelled job, and an array of sweepers on one study."""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Iterator

import pytest
from optuna.trial import TrialState

from tests.integration.services import free_port, wait_until
from tests.integration.slurm import Slurm, slurm
from tests.sweep.conftest import APPS, ROOT, Sweeps

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[Slurm]:
    with slurm() as server:
        yield server


def test_a_cancelled_job_costs_its_own_trial_alone(server: Slurm, sweeps: Sweeps) -> None:
    process = sweeps.start(
        "fate.py", "x=interval(0,1)", "seconds=2", "hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=5",
        "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2", "hydra.sweeper.study_name=s", "hydra.sweep.dir=out",
        **server.env,
    )  # fmt: skip
    wait_until("two jobs run", lambda: server.command("squeue", "-h", "-t", "running").count("\n") == 2)
    first = min(server.command("squeue", "-h", "-o", "%A").split(), key=int)
    server.command("scancel", first)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    trials = sweeps.study("s").trials
    failed = [t for t in trials if t.state is TrialState.FAIL]
    assert len(failed) == 1
    assert first in failed[0].user_attrs["cause"]
    again = next(t for t in trials if t.user_attrs.get("retry_of") == failed[0].number)
    assert again.params == failed[0].params
    assert sum(t.state is TrialState.COMPLETE for t in trials) == 4


def test_ctrl_c_twice_cancels_the_jobs(server: Slurm, sweeps: Sweeps) -> None:
    process = sweeps.start(
        "fate.py", "x=interval(0,1)", "seconds=100", "hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=5",
        "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2", "hydra.sweeper.study_name=c", "hydra.sweep.dir=out",
        **server.env,
    )  # fmt: skip
    wait_until("two jobs run", lambda: server.command("squeue", "-h", "-t", "running").count("\n") == 2)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.7)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    wait_until("no job is left", lambda: not server.command("squeue", "-h"), 20)
    states = [t.state for t in sweeps.study("c").trials]
    assert states.count(TrialState.WAITING) == 2
    assert TrialState.RUNNING not in states


def test_an_array_of_sweepers_shares_a_study(server: Slurm, sweeps: Sweeps) -> None:
    """Each task of the array is a sweeper with slots of its own; the budget is common."""
    words = "'x=interval(-5,5)' hydra/launcher=processes hydra.sweeper.n_jobs=1 hydra.sweeper.n_trials=10 seconds=0.2"
    script = sweeps.folder / "array.sh"
    script.write_text(
        f"#!/bin/sh\nexport PYTHONPATH={ROOT}\n"
        f"exec {sys.executable} {APPS}/sphere/app.py -m hydra/sweeper=optuna {words} hydra.sweeper.study_name=a "
        f"hydra.sweeper.storage=journal://{sweeps.folder}/a.journal "
        "hydra.sweep.dir=out-$SLURM_ARRAY_TASK_ID\n"
    )
    where = [f"--chdir={sweeps.folder}", "--output=%a.log"]
    done = server.command("sbatch", "--array=0-1", *where, str(script))
    assert "Submitted batch job" in done
    wait_until("the array", lambda: not server.command("squeue", "-h"), 120)
    logs = "".join(path.read_text() for path in sweeps.folder.glob("*.log"))
    assert "results: " in logs, logs
    trials = sweeps.study("a", f"journal://{sweeps.folder}/a.journal").trials
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 10, logs
    assert len({t.user_attrs["sweeper"] for t in trials}) == 2


class TestBadInput:
    """One message, before there is a study."""

    SLURM = ("fate.py", "x=interval(0,1)", "hydra/launcher=submitit_slurm")

    def test_no_slurm_on_this_machine(self, sweeps: Sweeps) -> None:
        message = sweeps.refused(*self.SLURM, PATH="/nonexistent")
        assert "hydra/launcher=submitit_slurm needs Slurm's command sbatch" in message

    def test_the_controller_is_down(
        self, server: Slurm, sweeps: Sweeps, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        conf = (server.folder / "slurm.conf").read_text()
        elsewhere = tmp_path_factory.mktemp("conf") / "slurm.conf"
        elsewhere.write_text(re.sub(r"SlurmctldPort=\d+", f"SlurmctldPort={free_port()}", conf))
        message = sweeps.refused(*self.SLURM, SLURM_CONF=str(elsewhere))
        assert "`scontrol ping` failed" in message or "no answer" in message

    def test_a_time_that_is_over_at_once(self, sweeps: Sweeps) -> None:
        message = sweeps.refused(*self.SLURM, "hydra.launcher.timeout_min=2")
        assert "hydra.launcher.timeout_min must be longer than hydra.launcher.signal_delay_s, 120 s" in message
