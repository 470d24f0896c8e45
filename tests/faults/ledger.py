"""What was tried and what was lost: the table of ``docs/reliability.md``, written by the long form of the suite.

Notes of a test file count once the whole file has passed, as one process, for the product as it is. They lie in
``.faults/PRODUCT/FILE/``, a file for each time in a row.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


def note(file: Path, fault: str, test: str, tried: int) -> None:
    """Note that a fault was caused ``tried`` times by a test that then found nothing lost."""
    with file.open("a", encoding="utf-8") as ledger:
        ledger.write(json.dumps([test.partition("[")[0], fault, tried]) + "\n")


class Ledger:
    """The notes on one state of the product."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / product()

    def passed(self, test_file: str) -> int:
        """How often in a row a file has passed."""
        return len(self._notes(test_file))

    def add(self, test_file: str, notes: Path) -> None:
        """Take in the notes of a file that has passed once more."""
        target = self._folder / test_file / f"{self.passed(test_file)}.jsonl"
        target.parent.mkdir(parents=True, exist_ok=True)
        notes.touch()  # there may be none
        shutil.move(notes, target)

    def drop(self, test_file: str) -> None:
        """Forget what a file has passed so far: it has failed now."""
        shutil.rmtree(self._folder / test_file, ignore_errors=True)

    def write(self, test_files: Sequence[str], page: Path = PAGE) -> None:
        """Put the table of what was noted in its place on the page, and say what is still to pass.

        All tests of a file have passed, hence nothing was lost.
        """
        tried: Counter[tuple[str, str]] = Counter()
        for test, fault, times in (line for file in test_files for line in self._lines(file)):
            tried[test, fault] += times
        head = [f"Times in a row that all of it has passed: {min(map(self.passed, test_files))}."]
        if missing := [f"`{file}`" for file in test_files if not self.passed(file)]:
            head[0] += f" Still to pass since the product's last change, and without rows: {', '.join(missing)}."
        rows = [f"| {fault} | {n} of {n} | `FAULTS=long pytest {test}` |" for (test, fault), n in sorted(tried.items())]
        table = "\n".join([*head, "", "| fault | nothing lost | command |", "|---|---|---|", *rows])
        before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        _, end, after = rest.partition(END)
        if not (begin and end):
            raise ValueError(f"{page} has no place for the table")
        page.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")

    def _notes(self, test_file: str) -> list[Path]:
        return sorted((self._folder / test_file).glob("*.jsonl"))

    def _lines(self, test_file: str) -> Iterator[tuple[str, str, int]]:
        for notes in self._notes(test_file):
            yield from (json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines())


def product() -> str:
    """A name for the product's files as they are: another one where one of them differs."""
    digest = hashlib.sha256()
    for folder in ("conf", "hydra_plugins", "rnn_sweep"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".py", ".yaml"}:
                digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]
