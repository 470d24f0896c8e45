"""What was tried and what was lost: the table of ``docs/reliability.md``, written by the long form of the suite."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


@dataclass
class Row:
    """One fault."""

    fault: str
    command: str
    tried: int = 0
    kept: int = 0


@dataclass
class Ledger:
    """Counts by fault, in the order in which they were tried first."""

    rows: dict[str, Row] = field(default_factory=dict)

    def record(self, fault: str, test: str, *, tried: int, kept: int) -> None:
        """Add to a fault's counts.

        Args:
            fault: in words; the row's name.
            test: the test's node id, which reproduces it.
            tried: times that the fault was caused.
            kept: times after which nothing was lost.
        """
        command = f"FAULTS=long pytest {test.partition('[')[0]}"
        row = self.rows.setdefault(fault, Row(fault, command))
        row.tried += tried
        row.kept += kept

    def table(self) -> str:
        """The rows as Markdown."""
        lines = ["| fault | nothing lost | command |", "|---|---|---|"]
        lines += [f"| {row.fault} | {row.kept} of {row.tried} | `{row.command}` |" for row in self.rows.values()]
        return "\n".join(lines)

    def write(self, page: Path = PAGE) -> None:
        """Put the table in its place on the page."""
        before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        _, end, after = rest.partition(END)
        if not (begin and end):
            raise ValueError(f"{page} has no place for the table")
        page.write_text(f"{before}{begin}\n{self.table()}\n{end}{after}", encoding="utf-8")
