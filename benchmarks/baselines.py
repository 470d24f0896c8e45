"""What each data set of ``conf/data`` holds, and what an answer that looks at no sequence gets.

Data sets that need a file of the user's or cannot be fetched are left out, with the reason on stderr.

Usage: python benchmarks/baselines.py
"""

from __future__ import annotations

import sys
from pathlib import Path

from omegaconf import OmegaConf

from rnn_sweep.config import DataConfig
from rnn_sweep.data import load
from rnn_sweep.errors import UserError

COMMON = ("name", "task", "batch_size", "val_size", "limit", "split_seed", "dir")
GROUPS = Path(__file__).parent.parent / "conf" / "data"


def row(group: Path) -> str:
    """A line of the table."""
    tree = {str(key): value for key, value in OmegaConf.load(group).items()}
    common = {key: tree.pop(key) for key in COMMON}
    data = load(DataConfig(**common, options=tuple(sorted(tree.items()))))
    counts = " / ".join(f"{len(part):,}" for part in (data.x_train, data.x_val, data.x_test))
    naive = [f"{data.baseline[key]:.4f}" if key in data.baseline else "" for key in ("naive/loss", "naive/accuracy")]
    shape = f"[{data.steps}, {data.input_dim}]"
    return f"| `{group.stem}` | {counts} | {shape} | {data.outputs} | {naive[0]} | {naive[1]} |"


def main() -> None:
    """Print the table in Markdown."""
    print("| `data=` | train / validation / test | [T, I] | outputs | `naive/loss` | `naive/accuracy` |")
    print("|---|---|---|---|---|---|")
    for group in sorted(GROUPS.glob("*.yaml")):
        try:
            print(row(group))
        except UserError as error:  # noqa: PERF203
            print(f"{group.stem}: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
