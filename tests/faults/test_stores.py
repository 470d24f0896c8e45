"""Stores that go away: runs go on, keep their records on disk, and deliver them when the store is back."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from tests import warm
from tests.conftest import Leashed
from tests.faults.conftest import Record, long_only
from tests.faults.harness import SMALL, SPACE, STUBBORN, Campaign, check_whole, settings
from tests.integration import services
from tests.integration.conftest import database, postgresql  # noqa: F401 - fixtures
from tests.tracking.test_tracking_server import serving

SECONDS = 60
"""For which a store is away."""
OUTBOX = "mlflow-outbox.jsonl"


def sync(folder: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "rnn_sweep", "sync"]
    return warm.run(line, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def outboxes(campaign: Campaign) -> list[Path]:
    return list(campaign.folder.rglob(OUTBOX))


def pauses(campaign: Campaign, logs: str) -> list[float]:
    """The seconds between two epochs of each run whose log is there."""
    found = []
    for log in campaign.folder.glob(logs):
        times = re.findall(r"^\[(\S+ \S+)\]\[rnn_sweep.run.progress\]\[INFO\] - epoch", log.read_text(), re.MULTILINE)
        stamps = [datetime.strptime(each, "%Y-%m-%d %H:%M:%S,%f") for each in times]
        found += [(b - a).total_seconds() for a, b in itertools.pairwise(stamps)]
    return found


def epochs_of(campaign: Campaign, seconds: float) -> int:
    """How many epochs of a small run take so long on this machine as busy as it is."""
    run = campaign.launch(*settings(60), "tracking=off", "hydra.run.dir=measured")
    campaign.finish(run)
    return round(seconds / statistics.mean(pauses(campaign, "measured/run.log")))


def test_mlflows_server_goes_and_its_records_are_delivered_later(campaign: Campaign, record: Record) -> None:
    """MLflow's server is killed in a sweep and comes back after it: every record arrives once."""
    folder = campaign.folder / "server"
    folder.mkdir()
    line = [*SMALL, "hydra/launcher=threads", "hydra.sweeper.n_trials=8"]
    with serving(folder, "server") as campaign.tracking:
        process = campaign.start(*line, f"tracking.uri={campaign.tracking}")
        assert campaign.wait_for(process, lambda trials: any(t.intermediate_values for t in trials))
        for part in in_folder(folder):
            part.kill()  # at once: in order it would answer for seconds
    text = campaign.finish(process)  # the server never comes back while the sweep runs
    assert "Traceback" not in text
    assert outboxes(campaign)
    assert sync(campaign.folder).returncode == 1, "there is nobody to deliver to"
    port = campaign.tracking.rpartition(":")[2]
    with serving(folder, "server", port=int(port)):
        done = sync(campaign.folder)
        assert done.returncode == 0, done.stdout + done.stderr
        assert not outboxes(campaign)
        check_whole(campaign, 8)
        (sweep,) = [run for run in campaign.runs() if "mlflow.parentRunId" not in run.data.tags]
        assert sweep.data.metrics["trials"] == 8
    record("MLflow's server is gone after the first trial; `rnn-sweep sync`")


@long_only
@pytest.mark.parametrize("how", ["stopped", "hangs"])
@pytest.mark.parametrize("launcher", ["threads", "processes"])
def test_mlflows_server_is_away_for_a_minute(campaign: Campaign, record: Record, launcher: str, how: str) -> None:
    folder, epochs = campaign.folder / "server", min(2500, max(200, epochs_of(campaign, 1.5 * SECONDS)))
    folder.mkdir()
    few = ["hydra.sweeper.n_trials=2", "hydra/sweeper/pruner=none", f"hydra/launcher={launcher}"]
    with serving(folder, "server") as campaign.tracking:
        process = campaign.start(*settings(epochs), *SPACE, *few, f"tracking.uri={campaign.tracking}")
        campaign.wait_for(process, lambda trials: any(t.intermediate_values for t in trials))
        if how == "hangs":
            with frozen(folder):
                time.sleep(SECONDS)
    if how == "stopped":
        time.sleep(SECONDS)
    with serving(folder, "server", port=int(campaign.tracking.rpartition(":")[2])):
        campaign.finish(process, seconds=900)
        while outboxes(campaign) and sync(campaign.folder).returncode:
            time.sleep(1)
        check_whole(campaign, 2, epochs)
    between = pauses(campaign, "multirun/*/*/*/run.log")
    # A second, and what an epoch may take on a machine that others keep busy.
    assert max(between) < 1 + 5 * statistics.median(between), "the store's absence has held training up"
    record(f"MLflow's server {how} for {SECONDS} s, launcher {launcher}")


@contextmanager
def frozen(folder: Path) -> Iterator[None]:
    """Freeze the server that runs in ``folder``."""
    found = in_folder(folder)
    for process in found:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in found:
            process.send_signal(signal.SIGCONT)


def in_folder(folder: Path) -> list[psutil.Process]:
    """The processes that work in a folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found += [process] if Path(process.cwd()) == folder else []
    return found


@long_only
@pytest.mark.parametrize("launcher", ["threads", "processes"])
def test_mlflows_database_is_locked(campaign: Campaign, record: Record, launcher: str) -> None:
    line = [*SMALL, *STUBBORN, f"hydra/launcher={launcher}", "hydra.sweeper.n_trials=10"]
    process = campaign.start(*line)
    campaign.wait_for_another(process)
    with closing(sqlite3.connect(campaign.folder / "mlflow.db", timeout=30, isolation_level=None)) as locked:
        locked.execute("BEGIN EXCLUSIVE")
        time.sleep(SECONDS)
        locked.execute("ROLLBACK")
    text = campaign.finish(process)
    assert "Traceback" not in text
    if outboxes(campaign):
        assert sync(campaign.folder).returncode == 0
    check_whole(campaign, 10)
    record(f"MLflow's sqlite locked for {SECONDS} s, launcher {launcher}")


@long_only
@pytest.mark.parametrize("launcher", ["threads", "processes"])
def test_the_studys_database_is_restarted(
    campaign: Campaign,
    postgresql: services.PostgreSQL,  # noqa: F811
    database: str,  # noqa: F811
    record: Record,
    launcher: str,
) -> None:
    campaign.storage = database
    times, count = 5, 40
    line = [*SMALL, *STUBBORN, f"hydra/launcher={launcher}", f"hydra.sweeper.n_trials={count}"]
    process = campaign.start(*line)
    for _ in range(times):
        campaign.wait_for_another(process)
        assert process.poll() is None, "too few trials to restart the database in the middle of them"
        postgresql.control("-m", "immediate", "stop")
        time.sleep(2)
        postgresql.start()
        campaign.note()
    text = campaign.finish(process)
    assert "Traceback" not in text
    check_whole(campaign, count)
    record(f"the study's PostgreSQL is restarted, launcher {launcher}", tried=times)


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(b"x" * 4096)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a disk of a given size")
def test_the_disk_is_full_for_a_while(tmp_path: Path, record: Record) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this system lets nobody mount")
    try:
        started = Leashed(tmp_path, *settings(300), f"hydra.run.dir={disk}/run")
        started.wait_for("epoch   3/")
        fill(disk)
        started.wait_for(".*no checkpoint of epoch")
        (disk / "filler").unlink()
        text = started.rest()
        assert started.process.returncode == 0, text
        assert "epoch 300/300" in text
        assert "Traceback" not in text
        kept = {".hydra", "run.log", "checkpoint.pt", "result.json", "weights.safetensors"}
        assert {path.name for path in (disk / "run").iterdir()} == kept
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
    record("the disk of a run is full for a while")
