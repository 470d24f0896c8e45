from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from rnn_sweep.config import Config, parse
from rnn_sweep.data import Dataset, load
from tests.conftest import ROOT

Make = Callable[..., Config]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small networks gain nothing from a second thread, and tests that run side by side lose."""
    torch.set_num_threads(1)


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
