"""A plugin of pytest that prints the tests that take the most of a processor, as CONTRIBUTING.md has them.

``pytest -p tests.slowest``: seconds of the test's own process and of those that it started and waited for, summed
over a test's parameters. Those of a shared fixture are the first test's that asks for it.
What a test is worth its time for is its docstring.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from typing import Any

import pytest

MOST = 30
_START = pytest.StashKey[float]()
_found: dict[str, tuple[float, str]] = {}


def _seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin to count."""
    item.stash[_START] = _seconds()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Send the figure with the report of the test's end, which may go to another process."""
    report: Any = yield
    if call.when == "teardown":
        words = " ".join((getattr(item.obj, "__doc__", None) or "").split())
        report.user_properties.append(("slowest", (_seconds() - item.stash[_START], words)))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Collect the figures of all workers."""
    for name, value in report.user_properties:
        if name == "slowest" and report.when == "teardown":
            test = report.nodeid.partition("[")[0].removeprefix("tests/")
            before = _found.get(test, (0.0, ""))[0]
            _found[test] = (before + value[0], value[1])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    whole = sum(seconds for seconds, _ in _found.values())
    terminalreporter.section(f"the {MOST} tests that take most, of {whole:.0f} s in all")
    terminalreporter.write_line("| CPU s | test | worth it, because |\n|---:|---|---|")
    for test, (seconds, words) in sorted(_found.items(), key=lambda found: -found[1][0])[:MOST]:
        terminalreporter.write_line(f"| {seconds:.1f} | `{test}` | {words} |")
