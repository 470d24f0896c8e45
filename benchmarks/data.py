"""Warm opening of MNIST beside the time that importing torchvision would have cost, alternating.

Each is measured in a fresh process, after ``import torch``.

Usage: python benchmarks/data.py [rounds]
"""

from __future__ import annotations

import statistics
import subprocess
import sys

OPEN = """
import time, torch
start = time.perf_counter()
from rnn_sweep.config import DataConfig
from rnn_sweep.data import load
load(DataConfig(name="mnist"))
print(time.perf_counter() - start)
"""
TORCHVISION = """
import time, torch
start = time.perf_counter()
import torchvision
print(time.perf_counter() - start)
"""


def seconds(program: str) -> float:
    """Run ``program`` in a new interpreter and return the seconds that it prints."""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    """Fill the cache if need be, then alternate the two."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds(OPEN)
    pairs = [(seconds(OPEN), seconds(TORCHVISION)) for _ in range(rounds)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"opening MNIST, warm cache: {ours:.3f} s (median of {rounds})")
    print(f"import torchvision:        {theirs:.3f} s")
    print(f"ratio:                     {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
