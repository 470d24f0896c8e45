"""What was tried and what was lost: the table of ``docs/reliability.md``, written by the long form of the suite."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


def append(file: Path, fault: str, test: str, tried: int) -> None:
    """Note that a fault was caused ``tried`` times by a test that then found nothing lost; processes share the file."""
    with file.open("a", encoding="utf-8") as ledger:
        ledger.write(json.dumps([test.partition("[")[0], fault, tried]) + "\n")


def files(file: Path) -> set[str]:
    """Names of the test files that have noted something."""
    return {Path(test.partition("::")[0]).name for test, _, _ in _lines(file)}


def write(file: Path, page: Path = PAGE) -> None:
    """Put the table of what was noted in its place on the page. Every test has passed, hence nothing was lost."""
    tried: Counter[tuple[str, str]] = Counter()
    for test, fault, times in _lines(file):
        tried[test, fault] += times
    rows = [f"| {fault} | {n} of {n} | `FAULTS=long pytest {test}` |" for (test, fault), n in sorted(tried.items())]
    table = "\n".join(["| fault | nothing lost | command |", "|---|---|---|", *rows])
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} has no place for the table")
    page.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")


def _lines(file: Path) -> list[tuple[str, str, int]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
