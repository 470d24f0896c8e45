from __future__ import annotations

from pathlib import Path

import pytest

from rnn_sweep.config import DataConfig
from rnn_sweep.data import FAMILIES, load
from rnn_sweep.data.store import cache_folder


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filled cache of digits, to be copied, never changed."""
    folder = tmp_path_factory.mktemp("digits")
    load(DataConfig(name="digits", val_size=300, dir=str(folder)))
    return folder


@pytest.fixture(scope="session")
def mnist_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filled cache of MNIST, only to be read: the user's own if complete, else fetched once a session."""
    mine = cache_folder(None)
    family = FAMILIES["mnist"]
    if all((mine / family.folder / file.name).exists() for file in family.files):
        return mine
    # One folder for all workers of a parallel test run; the cache's own lock lets the first one fetch.
    folder = tmp_path_factory.getbasetemp().parent / "mnist"
    load(DataConfig(name="mnist", dir=str(folder)))
    return folder
