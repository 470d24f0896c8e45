"""Training loops to compare with, each served by a process of its own that answers with images per second.

``tutorial``: what tutorials write, ``DataLoader`` over pictures, ``ToTensor``, ``nn.RNN``, RMSprop.
``stock``: images in memory, ``nn.RNN``, ``nn.LSTM`` or ``nn.GRU``, Adam, clipping.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import IO, cast

import torch
from torch import Tensor, nn

from rnn_sweep.models import ModelSpec, RecurrentNetwork

STEPS, FEATURES, BATCH, IMAGES = 28, 28, 64, 20_000
"""MNIST by rows."""


def spec_for(cell: str, hidden: int, features: int = FEATURES) -> ModelSpec:
    """The shape that is measured; the cell ``rnn`` is the default run's."""
    plain = cell == "rnn"
    return ModelSpec(cell, features, hidden, 1, "relu" if plain else None, 0.0, "identity" if plain else "default")


def rate(step: Callable[[], int], seconds: float) -> float:
    """Call ``step``, which returns the images it did, for ``seconds``; images per second."""
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        done += step()
    return done / (time.perf_counter() - start)


class Pictures(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """A stand-in for torchvision's MNIST: a PIL image and ``ToTensor`` for every item."""

    def __init__(self) -> None:
        from torchvision.transforms import ToTensor

        self.data = torch.randint(256, (IMAGES, STEPS, FEATURES), dtype=torch.uint8)
        self.transform = ToTensor()

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.data[index].numpy())), index % 10


def batches(kind: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled batches for ever, as the loop ``kind`` makes them."""
    if kind == "tutorial":
        loader = torch.utils.data.DataLoader(Pictures(), batch_size=BATCH, shuffle=True)
        while True:
            for images, labels in loader:
                yield images.reshape(-1, STEPS, FEATURES), labels
    x, y = torch.rand(IMAGES, STEPS, FEATURES), torch.randint(10, (IMAGES,))
    while True:
        for index in torch.split(torch.randperm(IMAGES), BATCH):
            yield x[index], y[index]


def step_of(kind: str, cell: str, hidden: int) -> Callable[[], int]:
    """One training step of the loop ``kind``."""
    model = RecurrentNetwork(spec_for(cell, hidden))
    optimisers = {"tutorial": torch.optim.RMSprop, "stock": torch.optim.Adam}
    optimiser: torch.optim.Optimizer = optimisers[kind](model.parameters(), lr=1e-4)
    source = batches(kind)

    def step() -> int:
        images, labels = next(source)
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        loss.item()
        return len(labels)

    return step


class Loops:
    """Processes of a loop, ``count`` at once with ``threads`` threads each."""

    def __init__(self, kind: str, count: int, threads: int) -> None:
        env = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self.processes = [
            subprocess.Popen(
                [sys.executable, __file__, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
            )
            for _ in range(count)
        ]

    def rate(self, cell: str, hidden: int, seconds: float) -> float:
        """Images per second of all processes together."""
        for process in self.processes:
            stdin = cast("IO[str]", process.stdin)
            stdin.write(f"{cell} {hidden} {seconds}\n")
            stdin.flush()
        return sum(float(cast("IO[str]", process.stdout).readline()) for process in self.processes)

    def close(self) -> None:
        """End the processes."""
        for process in self.processes:
            process.communicate()


def serve(kind: str) -> None:
    """Answer lines ``cell hidden seconds`` with images per second, until the input ends."""
    for line in sys.stdin:
        cell, hidden, seconds = line.split()
        step = step_of(kind, cell, int(hidden))
        rate(step, 0.3)
        print(rate(step, float(seconds)), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
