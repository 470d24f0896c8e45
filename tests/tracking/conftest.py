"""A folder of its own for every test, and databases that need not be created each time."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def database(empty_store, tmp_path) -> Path:
    """An empty MLflow database as ``mlflow.db`` in the test's folder; creating one takes seconds."""
    return Path(shutil.copy(empty_store, tmp_path / "mlflow.db"))
