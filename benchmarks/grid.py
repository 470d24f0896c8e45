"""Wall time of a grid of MNIST trials, whole command: tutorial-style under Hydra's joblib launcher / ours.

    python benchmarks/grid.py [--hidden 32,64,128,256] [--lr 3e-4,1e-3,3e-3] [--epochs 2] [--images 55000] [--rounds 1]
                               [--precision fp32,bf16]

The baseline runs two worker processes of one thread, and neither tracks, validates nor writes checkpoints; ours does
all three. The report at a grid's end, which the baseline does not have, is left out. The two take turns; start-up
counts on both sides. Without options it is the grid of the README, which takes minutes.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def timed(folder: str, *command: str) -> float:
    """Seconds that a command takes in ``folder``."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - start


def tutorial(folder: str, options: argparse.Namespace) -> float:
    """The grid as tutorials write it."""
    return timed(
        folder,
        str(HERE / "tutorial_app.py"),
        "-m",
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
        f"+hidden_dim={options.hidden}",
        f"+lr={options.lr}",
        f"+epochs={options.epochs}",
        f"+images={options.images}",
    )


def ours(folder: str, options: argparse.Namespace, precision: str) -> float:
    """The same grid, ours."""
    return timed(
        folder,
        str(HERE.parent / "run.py"),
        "-m",
        "hydra/launcher=threads",
        "hydra.sweeper.report=false",
        f"model.hidden_dim={options.hidden}",
        f"optimizer.lr={options.lr}",
        f"trainer.epochs={options.epochs}",
        f"trainer.precision={precision}",
        *([] if options.images == 55_000 else [f"data.limit={options.images}"]),
    )


def main() -> None:
    """Print the times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", default="32,64,128,256")
    parser.add_argument("--lr", default="3e-4,1e-3,3e-3")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--images", type=int, default=55_000, help="training images in an epoch")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--precision", default="fp32", help="fp32, bf16 or both")
    options = parser.parse_args()
    precisions = options.precision.split(",")
    rows: list[list[float]] = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            rows.append([tutorial(folder, options), *(ours(folder, options, each) for each in precisions)])
    for column, precision in enumerate(precisions, start=1):
        theirs = statistics.median(row[0] for row in rows)
        mine = statistics.median(row[column] for row in rows)
        ratio = statistics.median(row[0] / row[column] for row in rows)
        print(f"{precision}: tutorial under joblib {theirs:.1f} s, ours {mine:.1f} s, ratio {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main()
