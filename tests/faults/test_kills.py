"""``kill -9`` of the sweeper, of workers and of the process of threads, at random moments; the same command goes on."""

from __future__ import annotations

import random
import subprocess

import psutil
import pytest

from tests.faults.conftest import LONG, Record
from tests.faults.harness import SMALL, STUBBORN, Campaign, check_whole, kill, pause, seeded, worker_processes

STORES = {"journal": "", "sqlite": "sqlite:///study.db"}
KILLS = 12 if LONG else 1
"""Of each kind in each store: 50 in all, with those of workers."""
COLD = {"COLD_WORKERS": "1"}
"""So that workers are known by their command lines."""


def absolute(campaign: Campaign, store: str) -> str:
    """The store's URL for the sweeper, which runs in the campaign's folder, and for us, who do not."""
    return STORES[store].replace("///", f"///{campaign.folder}/") if STORES[store] else ""


def start_and_await_moment(
    campaign: Campaign, line: list[str], count: int, chance: random.Random
) -> tuple[subprocess.Popen[str], int]:
    """Start a sweep of ``count`` trials; now and then wait for a moment of its start, else for one of its trials.

    A sweep that has ended before the moment came is given more trials, and started again.

    Returns:
        The sweeper, which is alive, and the number of trials that it has been given.
    """
    while True:
        process = campaign.start(*line, f"hydra.sweeper.n_trials={count}", **COLD)
        if chance.random() < 0.2:
            pause(chance, 4)
        else:
            campaign.wait_for_another(process)
            pause(chance, 1)
        if process.poll() is None:
            return process, count
        campaign.finish(process)
        count += 6


@pytest.mark.parametrize("store", STORES if LONG else ["sqlite"])
def test_the_process_of_threads_is_killed(campaign: Campaign, record: Record, store: str) -> None:
    """`kill -9` of all jobs of a sweep at once, at a moment of chance: no trial and no record is lost."""
    campaign.storage = absolute(campaign, store)
    count, chance = 4 * KILLS + 2, seeded(f"threads {store}")
    line = [*SMALL, *STUBBORN, "hydra/launcher=threads", "hydra.sweeper.n_jobs=3"]
    for _ in range(KILLS):
        process, count = start_and_await_moment(campaign, line, count, chance)
        kill(process)
        campaign.note()
    campaign.finish(campaign.start(*line, f"hydra.sweeper.n_trials={count}"))
    check_whole(campaign, count)
    record(f"`kill -9` of the process of threads, study in {store}", tried=KILLS)


@pytest.mark.parametrize("store", STORES if LONG else ["journal"])
def test_sweepers_and_their_workers_are_killed(campaign: Campaign, record: Record, store: str) -> None:
    """`kill -9` of a sweeper, and of a worker under it: no trial and no record is lost."""
    campaign.storage = absolute(campaign, store)
    count, chance = 4 * KILLS + 2, seeded(f"processes {store}")
    line = [*SMALL, *STUBBORN, "hydra/launcher=processes"]
    workers = 0
    for _ in range(KILLS):
        process, count = start_and_await_moment(campaign, line, count, chance)
        if found := worker_processes(psutil.Process(process.pid)):
            chance.choice(found).kill()
            workers += 1
            pause(chance, 1)
        kill(process)
        campaign.note()
    process = campaign.start(*line, f"hydra.sweeper.n_trials={count + 2}", **COLD)
    count += 2  # so that it starts workers, whatever was done by now
    while not (found := worker_processes(psutil.Process(process.pid))):
        assert process.poll() is None, campaign.output(process)
        pause(chance, 0.2)
    chance.choice(found).kill()
    campaign.finish(process)
    check_whole(campaign, count)
    record(f"`kill -9` of the sweeper, study in {store}", tried=KILLS)
    record(f"`kill -9` of a worker, study in {store}", tried=workers + 1)
