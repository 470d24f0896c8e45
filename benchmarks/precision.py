"""Test accuracy with bf16 beside fp32, over a grid of configurations, as a Markdown table.

    python benchmarks/precision.py [--hidden 32,64,128,256] [--lr 3e-4,1e-3,3e-3] [--epochs 2] [--seeds 1,2,3]

One sweep of the training task over everything; the mean over the seeds, in percent.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

RUN = Path(__file__).resolve().parent.parent / "run.py"


def main() -> None:
    """Train the grid and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", default="32,64,128,256")
    parser.add_argument("--lr", default="3e-4,1e-3,3e-3")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", default="1,2,3")
    options = parser.parse_args()
    grid = [
        f"model.hidden_dim={options.hidden}",
        f"optimizer.lr={options.lr}",
        f"seed={options.seeds}",
        "trainer.precision=fp32,bf16",
        f"trainer.epochs={options.epochs}",
        "tracking=off",
    ]
    accuracies: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, str(RUN), "-m", *grid], cwd=folder, check=True, stdout=sys.stderr)
        for path in Path(folder).glob("multirun/*/*/*/result.json"):
            result = json.loads(path.read_text())
            chosen = dict(override.split("=", 1) for override in result["overrides"])
            key = chosen["model.hidden_dim"], chosen["optimizer.lr"]
            accuracies[key][chosen["trainer.precision"]].append(100 * result["metrics"]["test/accuracy"])
    print("| hidden_dim | lr | fp32 | bf16 | difference |\n|---:|---:|---:|---:|---:|")
    for (hidden, lr), found in sorted(accuracies.items(), key=lambda item: (int(item[0][0]), float(item[0][1]))):
        fp32, bf16 = (statistics.fmean(found[precision]) for precision in ("fp32", "bf16"))
        print(f"| {hidden} | {lr} | {fp32:.2f} | {bf16:.2f} | {bf16 - fp32:+.2f} |")


if __name__ == "__main__":
    main()
