"""Two Ray nodes against one, alternately: 24 trials of 0.5, 1.5 and 4 s, one at a time on each node.

Run ``python benchmarks/ray_nodes.py [rounds]`` (1). The trials sleep; the time is that from the first trial's start to
the last one's end, and contains the start of the actors.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import optuna

from rnn_sweep.storage import open_storage

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
SPACE = ["x=range(8)", "seconds=choice(0.5,4,1.5)", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=24"]


def sweep(address: str, env: dict[str, str], slots: int) -> float:
    """Seconds of one sweep."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "tests/apps/fate.py"), "-m", "hydra/sweeper=optuna", *SPACE]
        command += ["hydra/launcher=ray", f"hydra.launcher.address={address}", f"hydra.sweeper.n_jobs={slots}"]
        command += ["hydra.sweeper.study_name=s", "hydra.sweeper.report=false", "hydra.sweep.dir=out"]
        subprocess.run(command, cwd=folder, env={**os.environ, **env}, check=True, stdout=subprocess.DEVNULL)
        trials = optuna.load_study(study_name="s", storage=open_storage(f"journal://{folder}/studies/s.journal")).trials
    return max(t.datetime_complete.timestamp() for t in trials) - min(t.datetime_start.timestamp() for t in trials)


def main(rounds: int) -> None:
    """Print each round."""
    from tests.integration.services import ray

    for _ in range(rounds):
        times = []
        for nodes in (1, 2):
            with ray() as cluster:
                for _ in range(nodes):
                    cluster.node(cpus=1)
                times.append(sweep(cluster.address, cluster.env, nodes))
        print(f"one node {times[0]:.1f} s, two nodes {times[1]:.1f} s: {times[0] / times[1]:.2f} times (wanted: 1.8)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
