"""A function to minimise whose launcher calls it at once: what a sweep costs is the sweep's own.

After each hundredth job a line in ``held.jsonl`` says what the process holds, and how much CPU time it has used.
"""

import json
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import hydra
import psutil
from hydra._internal.core_plugins import basic_launcher
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from rnn_sweep.hydra_version import BASE


class AtOnce(basic_launcher.BasicLauncher):
    """Hydra takes launchers from its plugins' modules alone, hence the place that it is given below."""

    slots = 1

    def open(self, n_jobs: int | None) -> None:
        self.jobs = 0

    def submit(self, overrides: Sequence[str], index: int) -> Future[JobReturn]:
        future: Future[JobReturn] = Future()
        x = float(next(line for line in overrides if line.startswith("x=")).partition("=")[2])
        future.set_result(JobReturn(overrides=overrides, status=JobStatus.COMPLETED, _return_value=x * x))
        self.jobs += 1
        if self.jobs % 100 == 0:
            own = psutil.Process()
            held = {
                "jobs": self.jobs,
                "bytes": own.memory_info().rss,
                "files": own.num_fds(),
                "threads": own.num_threads(),
                "seconds": time.process_time(),
            }
            with Path("held.jsonl").open("a") as file:
                file.write(json.dumps(held) + "\n")
        return future

    def close(self, kill: bool = False) -> None:
        pass


AtOnce.__module__ = basic_launcher.__name__
basic_launcher.AtOnce = AtOnce  # type: ignore[attr-defined]
store = ConfigStore.instance()
store.store(
    group="hydra/launcher", name="at_once", node={"_target_": f"{basic_launcher.__name__}.AtOnce"}, provider="x"
)
store.store(name="many", node={"x": 1.0, "trial": None})


@hydra.main(config_path=None, config_name="many", **BASE)
def main(cfg: DictConfig) -> float:
    raise AssertionError("the launcher does it")


if __name__ == "__main__":
    main()
