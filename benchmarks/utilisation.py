"""How busy two workers are kept when trials last 1 s and 4 s, and what a job costs beside its task.

    python benchmarks/utilisation.py

Utilisation is the seconds that tasks ran, divided by slots x wall time, over the whole sweep: the end, when
one slot has nothing left to do, counts too. The baseline hands the same launcher batches of as many jobs as
there are slots and waits for each batch, as the official Optuna sweeper does. Workers are warm in both cases.
Tasks sleep, but a job's composition by Hydra takes CPU, so other load on the machine lowers the figures.
"""

from __future__ import annotations

import argparse
import logging
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, wait

from hydra import version
from hydra._internal.callbacks import Callbacks
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from rnn_sweep.sweep.config_cache import cached
from rnn_sweep.sweep.pool import open_pool

SLOTS = 2


def task(config: DictConfig) -> float:
    """Do nothing for a while."""
    time.sleep(config.seconds)
    return float(config.seconds)


def make_launcher(name: str, folder: str) -> Launcher:
    """Set a launcher up over :func:`task`, as Hydra and a sweep do."""
    version.setbase("1.3")
    GlobalHydra.instance().clear()
    hydra = Hydra.create_main_hydra2("utilisation", create_config_search_path(None))
    overrides = [f"hydra/launcher={name}", f"hydra.sweep.dir={folder}/{name}"]
    config = hydra.compose_config(None, overrides, RunMode.MULTIRUN, with_log_configuration=False)
    context = HydraContext(config_loader=cached(hydra.config_loader), callbacks=Callbacks(config))
    return Plugins.instance().instantiate_launcher(context, task, config)


def ours(launcher: Launcher, lengths: list[float]) -> None:
    """A new job the moment a slot frees."""
    pool = open_pool(launcher, SLOTS)
    _warm(lambda: [pool.submit(["+seconds=0.2"], number).result for number in range(SLOTS)])
    begin = time.perf_counter()
    running = set()
    for number, seconds in enumerate(lengths, start=SLOTS):
        running.add(pool.submit([f"+seconds={seconds}"], number))
        if len(running) == SLOTS:
            _, running = wait(running, return_when=FIRST_COMPLETED)
    wait(running)
    _say("ours (submit when a slot frees)", lengths, time.perf_counter() - begin)
    pool.close()


def batches(launcher: Launcher, lengths: list[float]) -> None:
    """As many jobs as slots, then wait for all of them."""
    launcher.launch([["+seconds=0.2"]] * SLOTS, 0)
    begin = time.perf_counter()
    for first in range(0, len(lengths), SLOTS):
        batch = [[f"+seconds={seconds}"] for seconds in lengths[first : first + SLOTS]]
        launcher.launch(batch, SLOTS + first)
    _say("batches of 2 (official sweeper)", lengths, time.perf_counter() - begin)


def overhead(folder: str, rounds: int) -> None:
    """Milliseconds per job of a task that does nothing, alternating between launchers."""
    names = ["basic", "processes"]
    pools = {name: open_pool(make_launcher(name, folder), 1) for name in names}
    spent: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 2):
        for name in names:
            begin = time.perf_counter()
            pools[name].submit(["+seconds=0"], number).result()
            spent[name].append(1000 * (time.perf_counter() - begin))
    median = {name: statistics.median(times[2:]) for name, times in spent.items()}
    for name in names:
        wanted = "; wanted: 40" if name == "processes" else ""
        print(f"{name:<32} {median[name]:6.1f} ms per job (median of {rounds}, one slot, warm{wanted})")
        pools[name].close()
    print(f"{'processes beyond basic':<32} {median['processes'] - median['basic']:6.1f} ms per job")
    pool = open_pool(make_launcher("processes", folder), SLOTS)
    _warm(lambda: [pool.submit(["+seconds=0.2"], number).result for number in range(SLOTS)])
    begin = time.perf_counter()
    _warm(lambda: [pool.submit(["+seconds=0"], number).result for number in range(SLOTS, SLOTS + rounds)])
    wall = 1000 * (time.perf_counter() - begin) / rounds
    print(f"{'processes, two slots':<32} {wall:6.1f} ms per job (wall)")
    pool.close()


def _warm(submit: Callable[[], list[Callable[[], object]]]) -> None:
    for result in submit():
        result()


def _say(name: str, lengths: list[float], wall: float) -> None:
    print(f"{name:<32} {100 * sum(lengths) / (SLOTS * wall):5.1f} % busy, {wall:5.1f} s")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=24, help="half of them 1 s, half 4 s, shuffled")
    parser.add_argument("--rounds", type=int, default=40, help="jobs per launcher for the overhead")
    options = parser.parse_args()
    # Every job would announce itself.
    logging.disable(logging.INFO)
    lengths = [1.0, 4.0] * (options.jobs // 2)
    random.Random(0).shuffle(lengths)  # noqa: S311 - an order, not a secret
    with tempfile.TemporaryDirectory() as folder:
        overhead(folder, options.rounds)
        ours(make_launcher("processes", folder), lengths)
        batching = make_launcher("processes", folder)
        batches(batching, lengths)
        batching.close()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
