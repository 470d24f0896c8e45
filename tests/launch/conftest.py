from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra.version import VersionBase
from packaging.version import Version

from rnn_sweep.sweep.pool import Pool, open_pool
from tests.launch.launching import make_launcher

MakePool = Callable[..., Pool]


@pytest.fixture
def sweep_dir(tmp_path: Path) -> Path:
    return tmp_path / "sweep"


@pytest.fixture
def events(sweep_dir: Path) -> Path:
    return sweep_dir / "events"


@pytest.fixture
def make_pool(sweep_dir: Path, hydra_restore_singletons: None) -> Iterator[MakePool]:
    """Open a pool over a launcher by name, two slots unless told otherwise; it is closed with the test."""
    opened: list[Pool] = []

    def make(name: str = "processes", *overrides: str, n_jobs: int = 2) -> Pool:
        opened.append(open_pool(make_launcher(sweep_dir, name, *overrides), n_jobs))
        return opened[-1]

    yield make
    for pool in opened:
        pool.close(kill=True)
    for handler in list(logging.root.handlers):  # of a job that joblib ran in this process
        if isinstance(handler, logging.FileHandler):
            logging.root.removeHandler(handler)
            handler.close()


@pytest.fixture
def of_hydra_1_1(hydra_restore_singletons: None) -> None:
    """Hydra's suites expect the behaviour of an app that names no version, whatever this process has composed."""
    VersionBase.instance().setbase(Version("1.1"))  # the function of that name warns
