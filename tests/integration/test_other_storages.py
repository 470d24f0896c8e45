"""Studies behind Optuna's gRPC proxy and in Redis: real servers, several sweepers."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.integration import services
from tests.sweep.conftest import Sweeps

pytestmark = pytest.mark.slow

SPHERE = "sphere/app.py"
X = "x=interval(-5,5)"

PROXY = """
import sys
from optuna.storages import run_grpc_proxy_server
from rnn_sweep.storage import open_storage

run_grpc_proxy_server(open_storage(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]))
"""


def share(sweeps: Sweeps, url: str, *more: str) -> None:
    """Two sweepers, 16 trials."""
    args = [SPHERE, X, "hydra/launcher=basic", "hydra.sweeper.study_name=s", "hydra.sweeper.n_trials=16"]
    args += [f"hydra.sweeper.storage={url}", *more]
    both = [sweeps.start(*args, f"hydra.sweep.dir=out{i}") for i in range(2)]
    outs = [process.communicate(timeout=100) for process in both]
    assert [process.returncode for process in both] == [0, 0], outs


def check(sweeps: Sweeps, url: str) -> None:
    trials = sweeps.study("s", url).trials
    assert Counter(t.state for t in trials if "surplus" not in t.user_attrs) == {TrialState.COMPLETE: 16}
    ran = [path.name for path in sweeps.folder.glob("out*/*") if path.name.isdigit()]
    assert sorted(map(int, ran)) == [t.number for t in trials if "surplus" not in t.user_attrs]


def test_a_grpc_proxy_that_restarts(sweeps: Sweeps, tmp_path: Path) -> None:
    pytest.importorskip("grpc", reason="needs grpcio")
    port, journal = services.free_port(), f"journal://{tmp_path}/behind.journal"
    command = [sys.executable, "-c", PROXY, journal, str(port)]
    first = subprocess.Popen(command)
    try:
        process = sweeps.start(
            SPHERE, X, "hydra/launcher=basic", "hydra.sweeper.study_name=s", "hydra.sweeper.n_trials=16",
            f"hydra.sweeper.storage=grpc://127.0.0.1:{port}", "seconds=0.2", "hydra.sweep.dir=out1",
        )  # fmt: skip
        services.wait_until("two trials", lambda: len(list(tmp_path.glob("out1/*"))) >= 2)
    finally:
        first.kill()
        first.wait()
    time.sleep(0.5)
    with services.running(command, tmp_path):
        out, err = process.communicate(timeout=100)
        assert process.returncode == 0, out + err
        check(sweeps, journal)


def test_nobody_behind_the_proxys_address(sweeps: Sweeps) -> None:
    pytest.importorskip("grpc", reason="needs grpcio")
    port = services.free_port()
    message = sweeps.refused(SPHERE, X, f"hydra.sweeper.storage=grpc://127.0.0.1:{port}")
    assert f"hydra.sweeper.storage=grpc://127.0.0.1:{port} cannot be opened: no answer within 8 s" in message


def test_redis(sweeps: Sweeps, tmp_path: Path) -> None:
    program = services.needed("redis-server", "Redis (Debian: redis-server)")
    pytest.importorskip("redis", reason="needs redis (pip)")
    port = services.free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--requirepass", "s3cret", "--save", ""]
    with services.running(command, tmp_path):
        services.wait_until("redis", lambda: services.listens(port))
        url = f"redis://:s3cret@127.0.0.1:{port}/0"
        wrong = url.replace("s3cret", "s3cretly")
        message = sweeps.refused(SPHERE, X, f"hydra.sweeper.storage={wrong}")
        assert "cannot be opened" in message
        assert "s3cret" not in message
        share(sweeps, url)
        check(sweeps, url)
