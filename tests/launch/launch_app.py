"""A Hydra app whose jobs leave events (files) behind and wait for those of others."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from rnn_sweep.hydra_version import BASE
from rnn_sweep.watchdog import announced

log = logging.getLogger(__name__)


class UnpicklableError(Exception):
    def __init__(self, lock: Any) -> None:
        super().__init__(lock)


class TwoArgumentsError(Exception):
    """Pickles, but cannot be unpickled: its ``args`` are not its constructor's arguments."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def happen(folder: str, event: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / event).write_text(str(os.getpid()))


def await_event(folder: str | Path, event: str, seconds: float = 60) -> int:
    """The process id that the event holds. Raises ``TimeoutError`` when it does not happen."""
    path = Path(folder) / event
    end = time.monotonic() + seconds
    while not (path.exists() and path.read_text()):
        if time.monotonic() > end:
            raise TimeoutError(event)
        time.sleep(0.01)
    return int(path.read_text())


def task(cfg: DictConfig) -> Any:
    number = HydraConfig.get().job.num
    if cfg.mode == "told":
        signal.signal(signal.SIGTERM, lambda *_: (happen(cfg.events, f"told-{number}"), os._exit(0)))
    happen(cfg.events, f"start-{number}")
    log.info("line of job %s", number)
    for event in cfg.wait_for:
        await_event(cfg.events, event)
    result = act(cfg)
    happen(cfg.events, f"end-{number}")
    return result


def act(cfg: DictConfig) -> Any:
    modes = {
        "raise": lambda: 1 / 0,
        "unpicklable": lambda: (_ for _ in ()).throw(UnpicklableError(threading.Lock())),
        "two": lambda: (_ for _ in ()).throw(TwoArgumentsError("a", "b")),
        "lock": threading.Lock,
        "exit": lambda: sys.exit(3),
        "die": lambda: os._exit(7),
        "where": os.getcwd,
        "stray": lambda: os.chdir("/"),
        "variables": lambda: (os.environ.get("FLAVOUR"), os.environ.get("OMP_NUM_THREADS")),
        "pid": os.getpid,
        "hang": lambda: hang(cfg.value),
        "gpus": lambda: os.environ.get("CUDA_VISIBLE_DEVICES"),
    }
    return modes.get(cfg.mode, lambda: cfg.value + cfg.number)()


def hang(seconds: float) -> None:
    with announced("limit", seconds):
        threading.Event().wait()


if __name__ == "__main__":
    hydra.main(config_path="conf", config_name="config", **BASE)(task)()
