"""The short form runs with all other tests; ``make faults`` is the long one, which writes docs/reliability.md."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.harness import Campaign
from tests.faults.ledger import Ledger

LONG = os.environ.get("FAULTS") == "long"

long_only = pytest.mark.skipif(not LONG, reason="part of `make faults`")

Record = Callable[..., None]

_ledger = Ledger()
_failed: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Faults are slow in either form."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(1800 if LONG else 200))


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """Count a fault: ``record(fault, tried=…)``, at the end of a test, all of which was kept."""

    def call(fault: str, *, tried: int = 1) -> None:
        _ledger.record(fault, request.node.nodeid, tried=tried, kept=tried)

    return call


@pytest.fixture
def campaign(tmp_path: Path) -> Iterator[Campaign]:
    """A sweep in an empty folder; whatever of it still runs at the end of the test is killed."""
    own = Campaign(tmp_path)
    yield own
    own.end()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep in mind what failed."""
    if report.failed:
        _failed.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the table when the whole long form has passed."""
    whole = {path.name for path in Path(__file__).parent.glob("test_*.py")}
    seen = {item.path.name for item in session.items}
    if LONG and not _failed and whole <= seen:
        _ledger.write()
