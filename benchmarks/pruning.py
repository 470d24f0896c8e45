"""What the median pruner saves: the default MNIST sweep of 30 trials with and without it, same sampler and seed.

    python benchmarks/pruning.py [overrides …]

Prints the epochs that both sweeps trained and the best validation accuracy of each. Takes half an hour on 2 cores.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

RUN = Path(__file__).resolve().parent.parent / "run.py"


def sweep(folder: Path, pruner: str, overrides: list[str]) -> tuple[int, float]:
    """Run one sweep; returns the epochs trained and the best validation accuracy."""
    import optuna

    from rnn_sweep.storage import open_storage

    command = [sys.executable, str(RUN), "-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=30", "tracking=off"]
    command += ["hydra.sweeper.reuse=false"]  # each pruner trains what it asks for
    command += ["hydra.sweeper.sampler.seed=1", "hydra.sweeper.report=false"]
    command += [f"hydra.sweeper.study_name={pruner}", f"hydra/sweeper/pruner={pruner}"]
    subprocess.run([*command, *overrides], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    study = optuna.load_study(study_name=pruner, storage=open_storage(f"journal://{folder}/studies/{pruner}.journal"))
    return sum(len(trial.intermediate_values) for trial in study.trials), study.best_value


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole, best = sweep(folder, "none", sys.argv[1:])
        pruned, best_pruned = sweep(folder, "median", sys.argv[1:])
    print(f"epochs without pruning {whole}, with the median pruner {pruned}: {1 - pruned / whole:.0%} saved")
    print(f"best validation accuracy {best:.4f} and {best_pruned:.4f}: {100 * (best_pruned - best):+.2f} points")


if __name__ == "__main__":
    main()
