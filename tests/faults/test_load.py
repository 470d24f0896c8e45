"""Many trials in one process: what it holds does not grow with them."""

from __future__ import annotations

import psutil
from optuna.trial import FrozenTrial

from tests.faults.conftest import Record, long_only
from tests.faults.harness import SMALL, Campaign

TRIALS = 500


def _ended(trials: list[FrozenTrial]) -> int:
    return sum(trial.state.is_finished() for trial in trials)


@long_only
def test_memory_and_files_stay_flat(campaign: Campaign, record: Record) -> None:
    line = [*SMALL, "hydra/launcher=fused", "hydra.sweeper.n_jobs=4", f"hydra.sweeper.n_trials={TRIALS}"]
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
    record(f"memory and open files flat over {TRIALS} fused trials", tried=1)
