"""The short form runs with all other tests; ``make faults`` is the long one, which writes docs/reliability.md."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import ledger
from tests.faults.harness import Campaign

LONG = os.environ.get("FAULTS") == "long"

long_only = pytest.mark.skipif(not LONG, reason="part of `make faults`")

Record = Callable[..., None]

LEDGER = "FAULTS_LEDGER"
"""Variable with the file that the processes of a long form share."""


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
            ledger.append(Path(os.environ[LEDGER]), fault, request.node.nodeid, tried)

    return call


@pytest.fixture
def campaign(tmp_path: Path) -> Iterator[Campaign]:
    """A sweep in an empty folder; whatever of it still runs at the end of the test is killed."""
    own = Campaign(tmp_path)
    yield own
    own.end()


def pytest_configure(config: pytest.Config) -> None:
    """Begin a ledger, where this is the long form, and neither one of its workers nor one of several sessions."""
    if LONG and LEDGER not in os.environ:
        handle, name = tempfile.mkstemp(prefix="faults-", suffix=".jsonl")
        os.close(handle)
        os.environ[LEDGER] = name


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the table when the whole long form has passed."""
    if not LONG or hasattr(session.config, "workerinput") or exitstatus != 0:
        return
    noted = Path(os.environ[LEDGER])
    if {path.name for path in Path(__file__).parent.glob("test_*.py")} == ledger.files(noted):
        ledger.write(noted)
