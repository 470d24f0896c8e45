"""Hydra's configuration of this process, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig


@contextmanager
def as_current(config: DictConfig) -> Iterator[None]:
    """Make ``config`` the process's Hydra configuration within the context, for its ``${hydra:…}`` interpolations."""
    instance = HydraConfig.instance()
    before = instance.cfg
    instance.set_config(config)
    try:
        yield
    finally:
        instance.cfg = before
