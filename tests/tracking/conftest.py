"""A folder of its own for every test, and databases that need not be created each time."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def _empty_database(tmp_path_factory) -> Path:
    from rnn_sweep.config import TrackingConfig
    from rnn_sweep.tracking import check

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    check(TrackingConfig(uri=f"sqlite:///{path}"))
    return path


@pytest.fixture
def database(_empty_database, tmp_path) -> Path:
    """An empty MLflow database as ``mlflow.db`` in the test's folder; creating one takes seconds."""
    return Path(shutil.copy(_empty_database, tmp_path / "mlflow.db"))
