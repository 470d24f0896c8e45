from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from rnn_sweep.application import HOOKS
from rnn_sweep.config import Config, TrackingConfig, parse, to_tree
from rnn_sweep.data import Dataset, load
from rnn_sweep.engines.native.library import NativeUnavailable
from rnn_sweep.engines.native.library import load as load_native
from rnn_sweep.outcome import Outcome
from rnn_sweep.run import lifecycle
from rnn_sweep.run.job import Application, Job, Place
from rnn_sweep.run.seat import Seat
from rnn_sweep.run.settings import Composed, Settings
from rnn_sweep.training import train as function
from rnn_sweep.trial import Reporter
from tests.conftest import ROOT

Make = Callable[..., Config]


class Observer(Reporter):
    """What a run tells while it trains; every method may be overridden."""

    def __init__(self) -> None:
        super().__init__(None)

    def steps(self, n: int) -> None:
        """Within an epoch: ``n`` steps more."""

    def epoch(self, epoch: int) -> bool:
        """After an epoch; False prunes the run."""
        return True

    def stop(self) -> bool:
        """Asked after an epoch; True interrupts the run."""
        return False

    def report(self, step: int, value: float) -> bool:
        return self.epoch(step)


class Watched(Seat):
    """A run's place, with its data at hand, in a process that trains others as well."""

    alone = False

    def __init__(self, dataset: Dataset, observer: Observer) -> None:
        super().__init__(observer.stop)
        self._dataset, self._observer = dataset, observer

    def tick(self, steps: int) -> None:
        self._observer.steps(steps)

    def share(self, make: Callable[..., Any], *args: object) -> Any:
        return self._dataset


def train(
    config: Config,
    dataset: Dataset,
    folder: Path,
    observer: Observer | None = None,
    resume: Mapping[str, Any] | None = None,
) -> Outcome:
    """Train without a record, or go on from a checkpoint."""
    watching, tree = observer or Observer(), to_tree(config)
    found = Composed(tree, Settings(TrackingConfig(enabled=False), config.seed, config.objective), tree, tree)
    job = Job(Application(function, None, HOOKS), found, Place(folder), resume)
    with lifecycle.opened(job, Watched(dataset, watching), watching) as run:
        return function(config, run)
    raise AssertionError


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small networks gain nothing from a second thread, and tests that run side by side lose."""
    torch.set_num_threads(1)


@pytest.fixture(params=["native", "torch"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine that this machine has."""
    if request.param == "native":
        try:
            load_native()
        except NativeUnavailable as error:
            pytest.skip(str(error))
    return str(request.param)


@pytest.fixture
def make() -> Make:
    """Build the configuration of a short run on the digits; keywords with ``__`` for dots override it."""

    def build(**changes: Any) -> Config:
        tree: dict[str, Any] = {
            "model": OmegaConf.load(ROOT / "conf/model/rnn.yaml"),
            "optimizer": OmegaConf.load(ROOT / "conf/optimizer/adam.yaml"),
            "scheduler": OmegaConf.load(ROOT / "conf/scheduler/onecycle.yaml"),
            "data": OmegaConf.load(ROOT / "conf/data/digits.yaml"),
            "trainer": OmegaConf.load(ROOT / "conf/trainer/default.yaml"),
            "tracking": {"enabled": False},
        }
        cfg = OmegaConf.create(tree)
        base = {"model.hidden_dim": 32, "optimizer.lr": 0.005, "trainer.epochs": 3, "trainer.device": "cpu"}
        for key, value in (base | {k.replace("__", "."): v for k, v in changes.items()}).items():
            if isinstance(value, dict):
                OmegaConf.update(cfg, key, value, merge=False)
            else:
                OmegaConf.update(cfg, key, value)
        return parse(cfg)

    return build


@pytest.fixture(scope="session")
def digits() -> Dataset:
    from rnn_sweep.config import DataConfig

    return load(DataConfig(name="digits", batch_size=32, val_size=0.2))
