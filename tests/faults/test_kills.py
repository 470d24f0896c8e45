"""``kill -9`` of the sweeper, of workers and of the fused process, at random moments; the same command goes on."""

from __future__ import annotations

import random
import subprocess

import psutil
import pytest

from tests.faults.conftest import LONG, Record
from tests.faults.harness import SMALL, STUBBORN, Campaign, check_whole, kill, pause, seeded, worker_processes

STORES = {"journal": "", "sqlite": "sqlite:///study.db"}
KILLS = 9 if LONG else 1


def absolute(campaign: Campaign, store: str) -> str:
    """The store's URL for the sweeper, which runs in the campaign's folder, and for us, who do not."""
    return STORES[store].replace("///", f"///{campaign.folder}/") if STORES[store] else ""


def await_moment(campaign: Campaign, process: subprocess.Popen[str], chance: random.Random) -> None:
    """Now and then a moment of the start; else one in which trials start, train or end."""
    if chance.random() < 0.2:
        pause(chance, 4)
    else:
        campaign.wait_for_another(process)
        pause(chance, 1)
    assert process.poll() is None, campaign.output(process)


@pytest.mark.parametrize("store", STORES if LONG else ["sqlite"])
def test_the_fused_process_is_killed(campaign: Campaign, record: Record, store: str) -> None:
    campaign.storage = absolute(campaign, store)
    count, chance = 4 * KILLS + 2, seeded(f"fused {store}")
    line = [*SMALL, *STUBBORN, "hydra/launcher=fused", "hydra.sweeper.n_jobs=3", f"hydra.sweeper.n_trials={count}"]
    for _ in range(KILLS):
        process = campaign.start(*line)
        await_moment(campaign, process, chance)
        kill(process)
        campaign.note()
    campaign.finish(campaign.start(*line))
    check_whole(campaign, count)
    record(f"`kill -9` of the fused process, study in {store}", tried=KILLS)


@pytest.mark.parametrize("store", STORES if LONG else ["journal"])
def test_sweepers_and_their_workers_are_killed(campaign: Campaign, record: Record, store: str) -> None:
    campaign.storage = absolute(campaign, store)
    count, chance = 4 * KILLS + 2, seeded(f"processes {store}")
    line = [*SMALL, *STUBBORN, "hydra/launcher=processes", f"hydra.sweeper.n_trials={count}"]
    workers = 0
    for _ in range(KILLS):
        process = campaign.start(*line)
        await_moment(campaign, process, chance)
        if found := worker_processes(psutil.Process(process.pid)):
            chance.choice(found).kill()
            workers += 1
            pause(chance, 1)
        kill(process)
        campaign.note()
    process = campaign.start(*line)
    while not (found := worker_processes(psutil.Process(process.pid))):
        pause(chance, 0.5)
    chance.choice(found).kill()
    campaign.finish(process)
    check_whole(campaign, count)
    record(f"`kill -9` of the sweeper, study in {store}", tried=KILLS)
    record(f"`kill -9` of a worker, study in {store}", tried=workers + 1)
