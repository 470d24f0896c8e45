"""Images per second of whole training steps, the native engine beside the loops of baseline_loops.py.

Random pixels of MNIST's shape, batch 64, whole steps: gather, forward, loss, backward, clip, optimiser. All sides take
turns, several times over; the medians are printed, and the load of the machine before it began. ``all`` is the sum of
two runs at once, one for each core, beside two tutorial processes; ``alone`` is one run with all threads beside one
tutorial process with all threads; ``stock`` one run on one thread beside an in-memory loop on one; ``of peak`` the
products of one run on one thread as a part of the core's multiply-adds between registers; ``2/1`` a run with all
threads beside one.

    python benchmarks/engine.py                                # the plain cell, 32 to 256 units, fp32 and bf16
    python benchmarks/engine.py --cells lstm gru --hidden 64 128
    python benchmarks/engine.py --long                         # 784 steps beside 28, a step's time
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import torch
from baseline_loops import BATCH, FEATURES, STEPS, Loops, rate, spec_for

from rnn_sweep.config import (
    Config,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    SchedulerConfig,
    TrackingConfig,
    TrainerConfig,
)
from rnn_sweep.data import Dataset
from rnn_sweep.engines.engine import StepSettings
from rnn_sweep.engines.native.engine import NativeEngine
from rnn_sweep.engines.native.library import load
from rnn_sweep.models import RecurrentNetwork, initialise

CORES = os.cpu_count() or 1


def pixels(count: int, steps: int, features: int) -> Dataset:
    """Random images."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (count, steps, features), dtype=torch.uint8, generator=generator)
    y = torch.randint(10, (count,), generator=generator)
    return Dataset("pixels", x, y, x, y, x, y, 1 / 255, 10)


def epoch_of(
    cell: str, hidden: int, precision: str, threads: int, shape: tuple[int, int] = (STEPS, FEATURES)
) -> Callable[[], int]:
    """A function that trains for some hundred steps on sequences of ``shape``."""
    steps, features = shape
    count = BATCH * max(4, 12_000 * 28 // (hidden * steps))
    config = Config(
        ModelConfig(),
        OptimizerConfig("torch.optim.RMSprop" if cell == "rnn" else "torch.optim.Adam", 1e-4),
        SchedulerConfig(),
        DataConfig(batch_size=BATCH),
        TrainerConfig(precision=precision),
        TrackingConfig(),
    )
    spec = spec_for(cell, hidden, features)
    engine = NativeEngine(config, spec, pixels(count, steps, features), threads=lambda: threads)
    model = RecurrentNetwork(spec)
    initialise(model, spec, 1)
    engine.load_weights(model.state_dict())
    settings = StepSettings(np.full(count // BATCH, 1e-4), None)
    generator = torch.Generator().manual_seed(1)

    def epoch() -> int:
        engine.train_epoch(torch.randperm(count, generator=generator), settings, lambda done: None)
        return count

    return epoch


def together(epochs: list[Callable[[], int]], seconds: float) -> float:
    """Images per second of all, each in a thread of its own at the same time."""
    rates: list[float] = []
    threads = [threading.Thread(target=lambda each=each: rates.append(rate(each, seconds))) for each in epochs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(rates)


def operations(cell: str, hidden: int) -> int:
    """Of the products that one training image needs, forward and backward."""
    gates = {"rnn": 1, "gru": 3, "lstm": 4}[cell]
    return 2 * STEPS * gates * hidden * (3 * hidden + 2 * FEATURES)  # no gradient with respect to the pixels


def peak(precision: str, seconds: float) -> float:
    """Operations per second of one core's multiply-adds between registers."""
    function = load().cdll.rnn_sweep_multiply_adds
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_int64, ctypes.c_int32, ctypes.c_void_p]
    numbers = (ctypes.c_float * 64)()
    start, done = time.perf_counter(), 0.0
    while time.perf_counter() - start < seconds:
        done += function(1_000_000, precision == "bf16", numbers)
    return done / (time.perf_counter() - start)


def compare(cell: str, hidden: int, options: argparse.Namespace, loops: dict[str, Loops]) -> None:
    """Measure everything in turns and print the rows of one cell and hidden size."""
    precisions = [each for each in ("fp32", "bf16") if each == "fp32" or load().bf16]
    ones = {p: epoch_of(cell, hidden, p, 1) for p in precisions}
    pairs = {p: [epoch_of(cell, hidden, p, 1) for _ in range(CORES)] for p in precisions}
    alone = {p: epoch_of(cell, hidden, p, CORES) for p in precisions}
    for epoch in (*ones.values(), *alone.values()):
        rate(epoch, 0.5)
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(options.turns):
        for name, loop in loops.items():
            found["loop", name].append(loop.rate(cell, hidden, options.seconds))
        for p in precisions:
            found["one", p].append(rate(ones[p], options.seconds))
            found["all", p].append(together(pairs[p], options.seconds))
            found["alone", p].append(rate(alone[p], options.seconds))
            found["peak", p].append(peak(p, 0.2))
    middle = {key: statistics.median(values) for key, values in found.items()}
    for p in precisions:
        ratios = [
            middle["all", p] / middle["loop", "tutorials"],
            middle["alone", p] / middle["loop", "tutorial"],
            middle["one", p] / middle["loop", "stock"],
            middle["one", p] * operations(cell, hidden) / middle["peak", p],
            middle["alone", p] / middle["one", p],
        ]
        rates = [middle[side, p] / 1e3 for side in ("one", "alone", "all")]
        print(
            f"| {cell} | {hidden} | {p} | {' | '.join(f'{each:.1f}' for each in rates)} | "
            f"{' | '.join(f'{each:.2f}' for each in ratios)} |",
            flush=True,
        )


def long_sequences(options: argparse.Namespace) -> None:
    """Print what a step of 784 costs beside a step of 28, both of one feature."""
    for cell in options.cells:
        for hidden in options.hidden:
            short, far = (epoch_of(cell, hidden, "fp32", 1, (steps, 1)) for steps in (STEPS, 784))
            found: dict[int, list[float]] = defaultdict(list)
            for _ in range(options.turns + 1):
                found[STEPS].append(rate(short, options.seconds) * STEPS)
                found[784].append(rate(far, options.seconds) * 784)
            a, b = (statistics.median(values[1:]) for values in found.values())
            ratio = f"a step costs {a / b:.2f} times as much"
            print(f"{cell} {hidden}: {a / 1e6:.2f} M steps/s of {STEPS}, {b / 1e6:.2f} M of 784: {ratio}")


def main() -> None:
    """Print one row for each cell, hidden size and precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", default=["rnn"], choices=["rnn", "gru", "lstm"])
    parser.add_argument("--hidden", nargs="+", type=int, default=[32, 64, 128, 256])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--long", action="store_true", help="784 steps beside 29 instead")
    options = parser.parse_args()
    print(f"{load().target}, {CORES} cores, load {os.getloadavg()[0]:.1f}; thousands of images per second, then ratios")
    if options.long:
        long_sequences(options)
        return
    loops = {
        "tutorials": Loops("tutorial", CORES, 1),
        "tutorial": Loops("tutorial", 1, CORES),
        "stock": Loops("stock", 1, 1),
    }
    sides = "one thread | alone | all | all / tutorials | alone / tutorial | one / stock | of peak | 2/1"
    print(f"| cell | hidden | type | {sides} |")
    print("|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for cell in options.cells:
        for hidden in options.hidden:
            compare(cell, hidden, options, loops)
    for loop in loops.values():
        loop.close()


if __name__ == "__main__":
    main()
