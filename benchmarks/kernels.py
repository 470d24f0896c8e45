"""Images per second of the lane kernels, against the tutorial loop and the machine's own matrix products.

Every figure is one training step after another (gather, forward, backward, clip, optimiser) on random pixels of
MNIST's shape. Ours and the baselines take turns, several times over, and the median of the turns is printed. The
tutorial is ``DataLoader`` + ``ToTensor`` + ``nn.RNN``: ``/one`` is one process with all threads, ``/all`` one process
with one thread per core, all running at once. ``of bmm`` is the rate of the products that training needs as a
fraction of ``torch.bmm``'s at [K, 64, H] x [K, H, H] on all threads.

    python benchmarks/kernels.py                       # the table of hidden sizes
    python benchmarks/kernels.py --cells rnn gru lstm --hidden 128 --lanes 1 8 --seconds 2
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import IO, cast

import torch
from torch import Tensor, nn

from rnn_sweep.lanes import Batches, LaneNetwork, Share
from rnn_sweep.lanes.precision import fast_products
from rnn_sweep.models import ModelSpec, RecurrentNetwork, initialise

T, I, BATCH, IMAGES = 28, 28, 64, 20_000  # noqa: E741
STEPS = 20
"""Between two meetings of the threads; an epoch has hundreds."""
THREADS = torch.get_num_threads()


def rate(step: Callable[[], int], seconds: float) -> float:
    """Call ``step``, which returns the images it did, for ``seconds``; return images per second."""
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        done += step()
    return done / (time.perf_counter() - start)


def spec_for(cell: str, hidden: int) -> ModelSpec:
    """Return the shape that is measured."""
    plain = cell == "rnn"
    return ModelSpec(cell, I, hidden, 1, "relu" if plain else None, 0.0, "identity" if plain else "default")


def lane_steps(cell: str, hidden: int, lanes: int, precision: str) -> Callable[[], int]:
    """Training steps of ``lanes`` lanes, each with its own shuffle, norm and RMSprop."""
    spec = spec_for(cell, hidden)
    net = LaneNetwork(spec, lanes, precision=precision, threads=THREADS)  # type: ignore[arg-type]
    for lane in range(lanes):
        model = RecurrentNetwork(spec)
        initialise(model, spec, lane)
        net.load(lane, model.state_dict())
    optimisers = [torch.optim.RMSprop([net.flat_parameter(lane)], lr=1e-4) for lane in range(lanes)]
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (IMAGES, T, I), dtype=torch.uint8, generator=generator)
    data = Batches(pixels, torch.randint(10, (IMAGES,), generator=generator), scale=1 / 255)

    def train(share: Share) -> None:
        mine, count = optimisers[share.lanes], share.lanes.stop - share.lanes.start
        limits, shuffle = torch.ones(count), torch.Generator().manual_seed(share.lanes.start)
        for _ in range(STEPS):
            index = torch.randint(IMAGES, (count, BATCH), generator=shuffle)
            share.forward_backward(*data.gather(index))
            share.clip_(limits, share.grad_norms())
            for optimiser in mine:
                optimiser.step()

    def steps() -> int:
        with fast_products():  # as runs are trained
            net.side_by_side(train)
        return STEPS * lanes * BATCH

    return steps


def product_rate(hidden: int, lanes: int) -> float:
    """Floating-point operations per second of ``torch.bmm`` [K, B, H] x [K, H, H]."""
    a, b = torch.randn(lanes, BATCH, hidden), torch.randn(lanes, hidden, hidden)
    out = torch.empty(lanes, BATCH, hidden)
    return rate(lambda: torch.bmm(a, b, out=out).shape[0], 0.3) * 2 * BATCH * hidden * hidden


def floating_operations(cell: str, hidden: int) -> int:
    """Operations of the products that one training image needs, forward and backward."""
    gates = {"rnn": 1, "gru": 3, "lstm": 4}[cell]
    forward = 2 * T * gates * hidden * (hidden + I)
    return 3 * forward - 2 * T * gates * hidden * I  # no gradient with respect to the pixels


class Pictures(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """A stand-in for torchvision's MNIST: a PIL image and ``ToTensor`` for every item."""

    def __init__(self) -> None:
        from torchvision.transforms import ToTensor

        self.data = torch.randint(256, (IMAGES, T, I), dtype=torch.uint8)
        self.transform = ToTensor()

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.data[index].numpy())), index % 10


def tutorial_step(cell: str, hidden: int) -> Callable[[], int]:
    """One step as in the tutorials."""
    model = RecurrentNetwork(spec_for(cell, hidden))
    optimiser = torch.optim.RMSprop(model.parameters(), lr=1e-4)
    loader = torch.utils.data.DataLoader(Pictures(), batch_size=BATCH, shuffle=True)

    def forever() -> Iterator[list[Tensor]]:
        while True:
            yield from loader

    batches = forever()

    def step() -> int:
        images, labels = next(batches)
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(images.reshape(-1, T, I)), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        loss.item()
        return len(labels)

    return step


def serve_tutorial() -> None:
    """Answer lines ``cell hidden seconds`` with images per second, until the input ends."""
    for line in sys.stdin:
        cell, hidden, seconds = line.split()
        step = tutorial_step(cell, int(hidden))
        rate(step, 0.3)
        print(rate(step, float(seconds)), flush=True)


class Tutorials:
    """Processes of the tutorial loop, ``count`` at once with ``threads`` threads each."""

    def __init__(self, count: int, threads: int) -> None:
        env = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        command = [sys.executable, __file__, "--serve-tutorial"]
        self.processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
            for _ in range(count)
        ]

    def rate(self, cell: str, hidden: int, seconds: float) -> float:
        """Return the images per second of all processes together."""
        for process in self.processes:
            stdin = cast("IO[str]", process.stdin)
            stdin.write(f"{cell} {hidden} {seconds}\n")
            stdin.flush()
        answers = [cast("IO[str]", process.stdout).readline() for process in self.processes]
        return sum(map(float, answers))

    def close(self) -> None:
        """End the processes."""
        for process in self.processes:
            process.communicate()


def compare(cell: str, hidden: int, lanes: list[int], turns: int, seconds: float, all_: Tutorials) -> None:
    """Measure everything in turns and print the rows of one cell and hidden size."""
    one = Tutorials(1, THREADS)
    ours = {(k, p): lane_steps(cell, hidden, k, p) for k in lanes for p in ("fp32", "bf16")}
    for step in ours.values():
        rate(step, 0.2)
    measured: dict[tuple[object, object], list[float]] = defaultdict(list)
    for _ in range(turns):
        measured["tutorial", "all"].append(all_.rate(cell, hidden, seconds))
        measured["tutorial", "one"].append(one.rate(cell, hidden, seconds))
        for (k, precision), step in ours.items():
            measured[k, precision].append(rate(step, seconds))
        torch.set_num_threads(THREADS)
        for k in lanes:
            measured[k, "bmm"].append(product_rate(hidden, k))
        torch.set_num_threads(1)
    one.close()
    middle = {key: statistics.median(values) for key, values in measured.items()}
    for k, precision in ours:
        images = middle[k, precision]
        work = images * floating_operations(cell, hidden)
        print(
            f"{cell:4} {hidden:4} {k:4}  {precision}  {images / 1e3:8.1f}"
            f"  {images / middle['tutorial', 'one']:8.2f}  {images / middle['tutorial', 'all']:8.2f}"
            f"  {work / middle[k, 'bmm']:9.2f}",
            flush=True,
        )


def main() -> None:
    """Print one row for each cell, hidden size, number of lanes and precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", default=["rnn"], choices=["rnn", "gru", "lstm"])
    parser.add_argument("--hidden", nargs="+", type=int, default=[32, 64, 128, 256])
    parser.add_argument("--lanes", nargs="+", type=int, default=[1, 8, 16])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--serve-tutorial", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_tutorial:
        serve_tutorial()
        return
    torch.set_num_threads(1)  # the lanes have threads of their own
    pairs = Tutorials(os.cpu_count() or 1, 1)
    print(f"{THREADS} threads, batch {BATCH}; thousands of images per second and ratios")
    print("cell    H    K  type   k img/s      /one      /all     of bmm")
    for cell in options.cells:
        for hidden in options.hidden:
            compare(cell, hidden, options.lanes, options.turns, options.seconds, pairs)
    pairs.close()


if __name__ == "__main__":
    main()
