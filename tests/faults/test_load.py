"""Many trials in one process: what it holds and what a trial costs do not grow with them."""

from __future__ import annotations

import itertools
import json

import psutil
from optuna.trial import FrozenTrial

from tests.conftest import ROOT
from tests.faults.conftest import Record, long_only
from tests.faults.harness import SMALL, Campaign

TRIALS = 500
MANY = 10_000


def _ended(trials: list[FrozenTrial]) -> int:
    return sum(trial.state.is_finished() for trial in trials)


@long_only
def test_memory_and_files_stay_flat(campaign: Campaign, record: Record) -> None:
    line = [*SMALL, "hydra/launcher=threads", "hydra.sweeper.n_jobs=4", f"hydra.sweeper.n_trials={TRIALS}"]
    process = campaign.start(*line)
    seen = psutil.Process(process.pid)
    held = []
    for count in (100, TRIALS - 10):
        assert campaign.wait_for(process, lambda trials, n=count: _ended(trials) >= n)
        held.append((seen.memory_info().rss, seen.num_fds(), seen.num_threads()))
    campaign.finish(process, seconds=900)
    (memory, files, threads), (later, more_files, more_threads) = held
    assert later <= 1.1 * memory, f"{memory >> 20} MiB after 100 trials, {later >> 20} MiB after {TRIALS - 10}"
    assert more_files <= files + 8
    assert more_threads <= threads + 2
    record(f"memory and open files flat over {TRIALS} trials in threads", tried=1)


@long_only
def test_a_study_of_many_trials(campaign: Campaign, record: Record) -> None:
    """The study itself is kept in memory, a few kB a trial, and Optuna looks through all trials for those that wait."""
    campaign.app = ROOT / "tests" / "apps" / "many.py"
    line = [
        "hydra/launcher=at_once",
        "hydra/sweeper/sampler=random",
        "x=interval(-5,5)",
        f"hydra.sweeper.n_trials={MANY}",
    ]
    text = campaign.finish(campaign.start(*line, PYTHONPATH=str(ROOT)), seconds=1500)
    assert f"{MANY}/{MANY} ended" in text
    trials = campaign.trials()
    assert len(trials) == MANY
    assert {t.state.name for t in trials} == {"COMPLETE"}
    held = [json.loads(each) for each in (campaign.folder / "held.jsonl").read_text().splitlines()]
    first, last = held[0], held[-1]
    each = (last["bytes"] - first["bytes"]) / (last["jobs"] - first["jobs"])
    assert each < 6000, f"{each:.0f} bytes a trial"
    assert (last["files"], last["threads"]) <= (first["files"] + 2, first["threads"])
    seconds = [after["seconds"] - before["seconds"] for before, after in itertools.pairwise(held)]
    early, late = sum(seconds[:10]), sum(seconds[-10:])  # of CPU time; each trial counted anew would be 25 times
    assert late < 8 * early, f"a thousand trials took {early:.1f} s at the start and {late:.1f} s at the end"
    record(f"a study of {MANY} trials: files, memory and time per trial flat but for Optuna's own", tried=1)
