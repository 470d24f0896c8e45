"""The short form runs with all other tests; ``make faults`` is the long one, which writes docs/reliability.md."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import ledger
from tests.faults.harness import Campaign

LONG = os.environ.get("FAULTS") == "long"

long_only = pytest.mark.skipif(not LONG, reason="part of `make faults`")

Record = Callable[..., None]

LEDGER = "FAULTS_LEDGER"
"""Variable with the file that a long form notes in what has passed; see :mod:`tests.faults.ledger`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Faults are slow in either form."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(1800 if LONG else 300))


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """Count a fault: ``record(fault, tried=…)``, at the end of a test, all of which was kept."""

    def call(fault: str, *, tried: int = 1) -> None:
        if LEDGER in os.environ:
            ledger.note(Path(os.environ[LEDGER]), fault, request.node.nodeid, tried)

    return call


@pytest.fixture
def campaign(tmp_path: Path, empty_store: Path) -> Iterator[Campaign]:
    """A sweep in an empty folder, but for MLflow's database in the short form; what still runs at the end is killed."""
    if not LONG:
        shutil.copy(empty_store, tmp_path / "mlflow.db")
    own = Campaign(tmp_path)
    yield own
    own.end()
