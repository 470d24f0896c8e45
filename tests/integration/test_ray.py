"""``hydra/launcher=ray`` on a cluster of two nodes that come and go."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.integration import services
from tests.sweep import steered
from tests.sweep.conftest import APPS, Sweeps

pytestmark = pytest.mark.slow

RAY = "hydra/launcher=ray"


@pytest.fixture(scope="module")
def cluster() -> Iterator[services.Ray]:
    """A head without CPUs, and one node with two CPUs and two GPUs of which Ray was told."""
    with services.ray() as cluster:
        cluster.node(cpus=2, gpus=2)
        yield cluster


def args(cluster: services.Ray, *more: str) -> list[str]:
    return [RAY, f"hydra.launcher.address={cluster.address}", "hydra.sweep.dir=out", *more]


def test_trials_report_and_are_pruned(cluster: services.Ray, sweeps: Sweeps) -> None:
    sweeps.run(
        "curve.py", "slope=choice(1,0.1,0.2,0.3)", "hydra.sweeper.direction=maximize", "hydra.sweeper.n_trials=8",
        "hydra.sweeper.n_jobs=2", "hydra.sweeper.study_name=p", "hydra/sweeper/pruner=median",
        "hydra.sweeper.pruner.n_startup_trials=1",
        "hydra.sweeper.sampler.seed=1", *args(cluster), **cluster.env,
    )  # fmt: skip
    assert {t.state for t in sweeps.study("p").trials} == {TrialState.COMPLETE, TrialState.PRUNED}


def test_orders_are_obeyed(cluster: services.Ray, sweeps: Sweeps) -> None:
    steered.check(sweeps, *args(cluster), **cluster.env)


def test_a_killed_node_costs_its_own_trials_alone(cluster: services.Ray, sweeps: Sweeps) -> None:
    """Four slots on two nodes; one node is killed, and the other one does all that is left."""
    doomed = cluster.node(cpus=2)
    process = sweeps.start(
        "fate.py", "x=interval(0,1)", "seconds=1.5", "hydra.sweeper.n_trials=10", "hydra.sweeper.n_jobs=4",
        "hydra.sweeper.study_name=k", *args(cluster), **cluster.env,
    )  # fmt: skip
    sweeps.wait_for("k", lambda trials: sum(t.state is TrialState.COMPLETE for t in trials) >= 4)
    cluster.kill(doomed)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    trials = sweeps.study("k").trials
    failed = [t for t in trials if t.state is TrialState.FAIL]
    assert 1 <= len(failed) <= 2, "those on the node"
    assert all("died" in t.user_attrs["cause"] or "lost" in t.user_attrs["cause"] for t in failed)
    assert sum(t.state is TrialState.COMPLETE for t in trials) == 10
    again = {t.user_attrs.get("retry_of"): t.params for t in trials if "retry_of" in t.user_attrs}
    assert again == {t.number: t.params for t in failed}


def test_each_job_sees_its_own_gpu(cluster: services.Ray, sweeps: Sweeps) -> None:
    sweeps.run(
        "devices.py", "x=range(4)", "hydra.launcher.num_gpus=1", "hydra.launcher.num_cpus=0.5",
        "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=4", "hydra.sweeper.study_name=g",
        *args(cluster), **cluster.env,
    )  # fmt: skip
    seen = [t.user_attrs["devices"] for t in sweeps.study("g").trials]
    assert set(seen) == {"0", "1"}


def test_ctrl_c_twice_ends_the_actors(cluster: services.Ray, sweeps: Sweeps) -> None:
    process = sweeps.start(
        "fate.py", "x=interval(0,1)", "seconds=60", "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=4",
        "hydra.sweeper.study_name=i", *args(cluster), **cluster.env,
    )  # fmt: skip
    sweeps.wait_for("i", lambda trials: sum("overrides" in t.user_attrs for t in trials) >= 2)
    time.sleep(4)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.7)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    states = [t.state for t in sweeps.study("i").trials]
    assert TrialState.RUNNING not in states
    assert states.count(TrialState.WAITING) == 2


def test_a_plain_grid_and_an_own_cluster(tmp_path: Path) -> None:
    """No address: a cluster of this machine that ends with the program."""
    pytest.importorskip("ray", reason="needs ray (pip)")
    words = ["-m", "x=1,2", RAY, "hydra.launcher.n_jobs=1", "hydra.sweep.dir=out"]
    done = subprocess.run(
        [sys.executable, str(APPS / "fate.py"), *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Launching 2 jobs, 1 at a time" in done.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"0", "1"}


OWN = """
from rnn_sweep.launch.ray_connect import connect
connect(None)
import ray
print(ray.get_runtime_context().gcs_address, flush=True)
input()
"""


def test_an_own_cluster_takes_nobody_in() -> None:
    """Ray listens on every address of a machine, and runs what it is sent."""
    pytest.importorskip("ray", reason="needs ray (pip)")
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", OWN], **streams) as owner:
        address = next(line.strip() for line in owner.stdout if re.fullmatch(r"[\d.:]+\n", line))
        join = f"from rnn_sweep.launch.ray_connect import connect; connect({address!r})"
        done = subprocess.run([sys.executable, "-c", join], capture_output=True, text=True, timeout=120, check=False)
        owner.communicate("\n")
    assert done.returncode == 1
    assert "it refuses RAY_AUTH_TOKEN" in done.stderr


class TestBadInput:
    """One message, before there is a study."""

    def refused(self, sweeps: Sweeps, *more: str, **env: str) -> str:
        pytest.importorskip("ray", reason="needs ray (pip)")
        message = sweeps.refused("fate.py", "x=interval(0,1)", RAY, *more, **env)
        assert message.count("\n") == 1
        return message

    def test_nobody_listens(self, sweeps: Sweeps) -> None:
        port = services.free_port()
        message = self.refused(sweeps, f"hydra.launcher.address=127.0.0.1:{port}")
        assert f"hydra.launcher.address=127.0.0.1:{port}: there is no Ray cluster: Connection refused" in message

    def test_somebody_else_listens(self, sweeps: Sweeps) -> None:
        with services.mute() as port:
            message = self.refused(sweeps, f"hydra.launcher.address=127.0.0.1:{port}")
        assert "there is no Ray cluster: no answer" in message

    def test_a_wrong_token(self, cluster: services.Ray, sweeps: Sweeps) -> None:
        wrong = {**cluster.env, "RAY_AUTH_TOKEN": "0" * 32}
        message = self.refused(sweeps, f"hydra.launcher.address={cluster.address}", **wrong)
        assert "the cluster cannot be joined: it refuses RAY_AUTH_TOKEN" in message

    @pytest.mark.parametrize(
        ("override", "rule"),
        [
            ("num_cpus=-1", "hydra.launcher.num_cpus must be at least 0, got -1"),
            ("num_gpus=1.5", "hydra.launcher.num_gpus must be a whole number or less than 1, got 1.5"),
            ("address=here:there", "hydra.launcher.address must be null, auto or host:port, got 'here:there'"),
        ],
    )
    def test_a_number_that_cannot_be(self, sweeps: Sweeps, override: str, rule: str) -> None:
        assert rule in self.refused(sweeps, f"hydra.launcher.{override}")
