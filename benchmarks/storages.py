"""What each storage of a study can take on this machine: reports and trials a second, from one and several processes.

Run ``python benchmarks/storages.py [seconds]``: each figure is taken over that many seconds (2 by default). A report is
what :class:`rnn_sweep.trial.Reporter` does for each epoch, without pruning. A trial is ask (random), three parameters,
two notes and tell. PostgreSQL runs without waiting for its disk.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.pool import Pool
from pathlib import Path

import optuna

from rnn_sweep.storage import at_once, open_storage, quiet
from rnn_sweep.trial import Reporter

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
PROCESSES = (1, 2, 4)
STEPS = 50
"""Reports of one trial."""
PROXY = """
import sys
from optuna.storages import run_grpc_proxy_server
from rnn_sweep.storage import open_storage
import optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
run_grpc_proxy_server(open_storage(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]))
"""


@dataclass(frozen=True)
class Capacity:
    """Of one storage, over all processes; the best of 1, 2 and 4 of them."""

    reports: float
    """A second."""
    trials: float
    """A second, without their reports."""


def _study(url: str) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(
        study_name="s", storage=open_storage(url), sampler=optuna.samplers.RandomSampler(), load_if_exists=True
    )


def _reports(url: str, seconds: float) -> int:
    study, end, count = _study(url), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        trial = study.ask()
        reporter = Reporter({"study_name": "s", "storage": url, "number": trial.number})
        for step in range(STEPS):
            assert reporter.report(step, 1.0)
            count += 1
            if time.monotonic() > end:
                break
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return count


def _trials(url: str, seconds: float) -> int:
    study = _study(url)
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        trial = study.ask()
        with at_once(study._storage):
            trial.set_user_attr("sweeper", "a")
        with at_once(study._storage):
            values = [trial.suggest_float(name, 0, 1) for name in "xyz"]
            trial.set_user_attr("overrides", ["x=1"])
        study.tell(trial, sum(values))
        count += 1
    return count


def _best(pool: Pool, work: Callable[[str, float], int], url: str, seconds: float) -> float:
    rates = [sum(pool.starmap(work, [(url, seconds)] * count, chunksize=1)) / seconds for count in PROCESSES]
    return max(rates)


def measure(url: str, seconds: float) -> Capacity:
    """Take the figures of the storage at ``url``, which is empty."""
    with quiet(), multiprocessing.get_context("spawn").Pool(max(PROCESSES)) as pool:
        _study(url)
        pool.starmap(_reports, [(url, 0.0)] * max(PROCESSES), chunksize=1)  # imports
        return Capacity(_best(pool, _reports, url, seconds), _best(pool, _trials, url, seconds))


@contextmanager
def storages() -> Iterator[dict[str, str]]:
    """URLs of empty storages, by kind."""
    from tests.integration.services import free_port, listens, postgresql, wait_until

    with tempfile.TemporaryDirectory() as folder, postgresql() as server:
        os.environ["PGPASSWORD"] = server.password
        server.sql("CREATE DATABASE sweep")
        port = free_port()
        proxy = subprocess.Popen([sys.executable, "-W", "ignore", "-c", PROXY, f"journal://{folder}/proxy", str(port)])
        try:
            wait_until("the proxy", lambda: listens(port))
            yield {
                "journal": f"journal://{folder}/journal",
                "sqlite": f"sqlite:///{folder}/sqlite.db",
                "postgresql": server.url("sweep"),
                "grpc": f"grpc://127.0.0.1:{port}",
            }
        finally:
            proxy.kill()
            proxy.wait()


def measure_all(seconds: float) -> dict[str, Capacity]:
    """The figures of all storages."""
    with storages() as urls:
        return {kind: measure(url, seconds) for kind, url in urls.items()}


if __name__ == "__main__":
    print("| storage | reports/s | trials/s |\n|---|---|---|")
    for kind, capacity in measure_all(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0).items():
        print(f"| {kind} | {capacity.reports:,.0f} | {capacity.trials:,.0f} |", flush=True)
