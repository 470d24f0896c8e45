"""Several sweepers on one study in a real PostgreSQL: trials a second in all, and whether the budget was kept.

Run ``python benchmarks/shared_study.py [trials] [sweepers] [overrides…]`` (2,000, 4). The trials cost nothing, so what
is measured is the sweepers and the database, all on this machine. Half of that is what Hydra does for a job and what
TPE needs, which ``hydra/sweeper/sampler=random hydra.output_subdir=null hydra/job_logging=disabled`` leaves out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
SPACE = ["x=interval(-5,5)", "y=tag(log,interval(1e-3,1))"]


def sweepers(count: int, trials: int, more: list[str], url: str, folder: Path) -> float:
    """Run them to their end; returns the seconds from the first trial's start to the last one's end."""
    command = [sys.executable, str(ROOT / "tests/apps/sphere/app.py"), "-m", "hydra/sweeper=optuna", *SPACE]
    command += ["hydra/launcher=basic", "hydra.sweeper.study_name=s", f"hydra.sweeper.storage={url}"]
    command += [f"hydra.sweeper.n_trials={trials}", "hydra.sweeper.report=false", *more]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([*command, f"hydra.sweep.dir=out{i}"], cwd=folder, env=env, stdout=subprocess.DEVNULL)
        for i in range(count)
    ]
    start = time.perf_counter()
    assert [process.wait() for process in processes] == [0] * count
    return time.perf_counter() - start


def main(trials: int, count: int, more: list[str]) -> None:
    """Print the figures."""
    import optuna

    from rnn_sweep.storage import open_storage
    from tests.integration.services import postgresql

    with tempfile.TemporaryDirectory() as folder, postgresql() as server:
        os.environ["PGPASSWORD"] = server.password
        server.sql("CREATE DATABASE sweep")
        url = server.url("sweep")
        seconds = sweepers(count, trials, more, url, Path(folder))
        done = optuna.load_study(study_name="s", storage=open_storage(url)).trials
        ran = sorted(int(path.name) for path in Path(folder).glob("out*/*") if path.name.isdigit())
    counted = [t.number for t in done if "surplus" not in t.user_attrs]
    assert ran == counted, "each trial ran exactly once"
    assert len(ran) == trials, "the budget was kept"
    assert [t.number for t in done] == list(range(len(done)))
    first, last = min(t.datetime_start for t in done), max(t.datetime_complete for t in done)
    rate = trials / (last - first).total_seconds()
    print(f"{trials} trials by {count} sweepers: {seconds:.1f} s in all, {rate:.1f} trials/s (wanted: 40)", *more)
    print(f"every trial number ran exactly once; asked for at the same moment beyond the budget: {len(done) - trials}")


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:3] if word.isdigit()]
    main(*(given + [2000, 4][len(given) :]), sys.argv[1 + len(given) :])
