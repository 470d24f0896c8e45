from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import optuna
import pytest
from optuna.storages import BaseStorage

from rnn_sweep.storage import open_storage
from tests.integration import services
from tests.sweep.conftest import sweeps

__all__ = ["sweeps"]

Load = Callable[[str, str], optuna.Study]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[services.PostgreSQL]:
    with services.postgresql() as server:
        yield server


@pytest.fixture
def database(postgresql: services.PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a new database; its password is where libpq looks for it."""
    monkeypatch.setenv("PGPASSWORD", postgresql.password)
    name = f"sweep_{secrets.token_hex(4)}"
    postgresql.sql(f"CREATE DATABASE {name}")
    return postgresql.url(name)


@pytest.fixture
def load() -> Iterator[Load]:
    """Studies by name and URL, as they are stored now; the connections are closed with the test."""
    opened: dict[str, BaseStorage] = {}

    def call(name: str, url: str) -> optuna.Study:
        if url not in opened:
            opened[url] = open_storage(url)
        return optuna.load_study(study_name=name, storage=opened[url])

    yield call
    for storage in opened.values():
        close(storage)


def close(storage: BaseStorage) -> None:
    """Close the connections of a storage, for which Optuna has no word."""
    inner = storage._patience.storage
    inner._backend.remove_session()
    inner._backend.engine.dispose()
