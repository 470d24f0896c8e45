"""Ctrl-C and SIGTERM: once is in order and can be gone on from, twice is at once."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest
from optuna.trial import TrialState

from tests.faults.conftest import LONG, Record, long_only
from tests.faults.harness import SPACE, Campaign, check_whole, settings
from tests.tracking.test_tracking_server import addresses

SIGNALS = [signal.SIGINT, signal.SIGTERM]
EPOCHS = 400 if LONG else 100


def slow(epochs: int = EPOCHS) -> list[str]:
    """Two trials that last longer than it takes to stop them."""
    return [*settings(epochs), *SPACE, "hydra.sweeper.n_trials=2", "hydra/sweeper/pruner=none"]


def started(campaign: Campaign, epochs: int, *arguments: str) -> subprocess.Popen[str]:
    """A sweep in the middle of both of its trials."""
    process = campaign.start(*slow(epochs), *arguments)
    slots = 1 if "hydra/launcher=basic" in arguments else 2
    assert campaign.wait_for(process, lambda trials: sum(bool(t.intermediate_values) for t in trials) == slots)
    return process


def signalled(campaign: Campaign, number: signal.Signals, launcher: str) -> tuple[str, int]:
    """Signal a sweep in the middle of its trials; with longer ones where the signal came after the end of one.

    Returns:
        What it said, and the epochs of a trial.
    """
    folder, epochs = campaign.folder, EPOCHS
    while True:
        campaign.folder = folder / str(epochs)
        campaign.folder.mkdir()
        process = started(campaign, epochs, f"hydra/launcher={launcher}")
        assert not addresses(campaign.folder), "a sweep on one machine needs no server"
        process.send_signal(number)
        process.wait(60)
        if not [t for t in campaign.trials() if t.state is TrialState.COMPLETE]:
            return campaign.finish(process, status=128 + number), epochs
        epochs *= 3


@pytest.mark.parametrize("launcher", ["threads", "processes", "basic"] if LONG else ["processes"])
@pytest.mark.parametrize("number", SIGNALS if LONG else [signal.SIGTERM])
def test_one_signal_lets_epochs_end(campaign: Campaign, record: Record, number: signal.Signals, launcher: str) -> None:
    text, epochs = signalled(campaign, number, launcher)
    assert "go on with" in text
    assert "Traceback" not in text
    interrupted = [t for t in campaign.trials() if t.user_attrs.get("failure") == "interrupted"]
    assert interrupted
    assert {r.info.status for r in campaign.runs()} == {"KILLED"}
    assert not [t for t in campaign.trials() if t.state is TrialState.RUNNING]
    campaign.finish(campaign.start(*slow(epochs), f"hydra/launcher={launcher}"))
    check_whole(campaign, 2, epochs)
    for trial in campaign.trials():
        if first := [t for t in interrupted if t.number == trial.user_attrs.get("retry_of")]:
            assert trial.user_attrs["run_id"] == first[0].user_attrs["run_id"]
            assert first[0].intermediate_values.items() <= trial.intermediate_values.items(), "it began again"
    record(f"{number.name} once, launcher {launcher}")


@long_only
@pytest.mark.parametrize("launcher", ["threads", "processes"])
def test_two_signals_end_it_at_once(campaign: Campaign, record: Record, launcher: str) -> None:
    process = started(campaign, EPOCHS, f"hydra/launcher={launcher}", "data=mnist")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    while "Ctrl-C again" not in campaign.output(process):
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    text = campaign.finish(process, status=130, seconds=30)
    assert "Traceback" not in text
    states = [t.state for t in campaign.trials()]
    assert (states.count(TrialState.FAIL), states.count(TrialState.WAITING)) == (2, 2)
    assert {r.info.status for r in campaign.runs()} == {"KILLED"}
    record(f"SIGINT twice, launcher {launcher}")


@long_only
@pytest.mark.parametrize("number", SIGNALS)
def test_a_grid_is_stopped(campaign: Campaign, record: Record, number: signal.Signals) -> None:
    process = campaign.launch("-m", *settings(2000), "hydra/launcher=processes", "seed=1,2,3")
    while campaign.output(process).count("epoch    1/") < 2:
        assert process.poll() is None, campaign.output(process)
        time.sleep(0.05)
    process.send_signal(number)
    text = campaign.finish(process, status=128 + number, seconds=30)
    assert "Traceback" not in text
    assert {r.info.status for r in campaign.runs()} == {"KILLED"}
    record(f"{number.name} in a grid")
