"""Which file a study is in."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnn_sweep.storage import location


@pytest.mark.parametrize(
    ("url", "file", "absolute"),
    [
        ("journal://a/s.journal", "a/s.journal", "journal:///home/a/s.journal"),
        ("journal://./s.journal", "s.journal", "journal:///home/s.journal"),
        ("journal://journal", "journal", "journal:///home/journal"),
        ("journal:///s.journal", "/s.journal", "journal:///s.journal"),
        ("sqlite:///s.db", "s.db", "sqlite:////home/s.db"),
        ("sqlite:////s.db", "/s.db", "sqlite:////s.db"),
        ("sqlite:///s.db?timeout=9", "s.db", "sqlite:////home/s.db?timeout=9"),
        ("sqlite+pysqlite:///s.db", "s.db", "sqlite+pysqlite:////home/s.db"),
        ("sqlite:///:memory:", None, "sqlite:///:memory:"),
        ("sqlite://", None, "sqlite://"),
        ("postgresql://me@host/s.db", None, "postgresql://me@host/s.db"),
        ("redis://host:1/2", None, "redis://host:1/2"),
    ],
)
def test_a_url(url: str, file: str | None, absolute: str) -> None:
    assert location.file_of(url) == (file and Path(file))
    assert location.absolute(url, Path("/home")) == absolute
    assert location.lock_file(url) == (file and f"{Path(file)}.ask.lock")


def test_a_new_file(tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    assert [location.is_new_file(f"journal://{tmp_path}/{name}") for name in ("old", "new")] == [False, True]
    assert not location.is_new_file("postgresql://host/new")
