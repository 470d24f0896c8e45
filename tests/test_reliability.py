"""The table of docs/reliability.md says what has passed, and how often."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import ledger
from tests.faults.ledger import BEGIN, END, PAGE, Ledger, note

FILES = ["test_a.py", "test_b.py"]


def rows(page: Path) -> list[str]:
    return page.read_text().partition(BEGIN)[2].partition(END)[0].strip().splitlines()


def test_the_table_is_what_has_passed(tmp_path: Path) -> None:
    page, notes, book = tmp_path / "page.md", tmp_path / "notes", Ledger(tmp_path / "faults")
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for file, tried in (("test_a.py", 3), ("test_a.py", 4), ("test_b.py", 1)):
        note(notes, "a kill", f"tests/faults/{file}::test_it[threads]", tried)
        book.add(file, notes)
    book.write(FILES, page)
    row = "| a kill | {0} of {0} | `FAULTS=long pytest tests/faults/{1}::test_it` |"
    assert rows(page)[0] == "Times in a row that all of it has passed: 1."
    assert rows(page)[-2:] == [row.format(7, "test_a.py"), row.format(1, "test_b.py")]
    book.drop("test_a.py")
    book.write(FILES, page)
    assert rows(page)[0].startswith("Times in a row that all of it has passed: 0. Still to pass")
    assert "`test_a.py`." in rows(page)[0]
    assert rows(page)[-1] == row.format(1, "test_b.py")
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith("after\n")


def test_a_changed_product_has_passed_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf").mkdir()
    monkeypatch.setattr(ledger, "ROOT", tmp_path)
    notes = tmp_path / "notes"
    Ledger(tmp_path / "faults").add("test_a.py", notes)
    assert Ledger(tmp_path / "faults").passed("test_a.py") == 1
    (tmp_path / "conf" / "new.yaml").write_text("a: 1")
    assert Ledger(tmp_path / "faults").passed("test_a.py") == 0


def test_the_page_has_a_place() -> None:
    assert len(rows(PAGE)) > 3
