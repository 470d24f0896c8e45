"""Repair of databases of sqlite: a new file with the same tables, and every row that can be read."""

from __future__ import annotations

import itertools
import re
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from rnn_sweep.commands.repair.copies import Repaired, free_name, set_aside
from rnn_sweep.errors import UserError

_MOST_TRIED = 1_000_000
"""Row ids between readable ones that are looked for one by one."""
_UNFINISHED = """
UPDATE trials SET state = 'FAIL' WHERE state = 'COMPLETE'
AND trial_id NOT IN (SELECT trial_id FROM trial_values)
"""
"""A trial whose values are lost is no complete one."""
_STAND_IN = "INSERT INTO trials (trial_id, number, study_id, state) VALUES (?, ?, ?, 'FAIL')"


def repair(path: Path) -> Repaired:
    """Repair a database.

    Raises:
        UserError: another process is at work on it, or nothing of it can be read; it is as it was.
    """
    try:
        with closing(sqlite3.connect(path, timeout=1, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
            if [row[0] for row in database.execute("PRAGMA integrity_check")] == ["ok"]:
                return Repaired(None)
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise UserError(f"repair: {path} must not be in use by another process: {error}") from None
    except sqlite3.DatabaseError:
        pass
    new = path.with_name(f".{path.name}.repaired")
    new.unlink(missing_ok=True)
    try:
        lost = _save(path, new)
    except sqlite3.DatabaseError as error:
        new.unlink(missing_ok=True)
        rule = "its first page, which says what tables there are, cannot be read, and nothing can be saved"
        how = "take a backup, or move the file away to begin anew"
        raise UserError(f"repair: {path}: {rule} ({error}); {how}") from None
    copy = set_aside(path)
    for suffix in ("-wal", "-shm", "-journal"):  # they belong to the pages that were
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(free_name(beside))
    new.rename(path)
    return Repaired(copy, tuple(lost))


def _save(path: Path, new: Path) -> list[str]:
    """Copy what can be read into a new database; returns what could not."""
    lost = []
    with closing(sqlite3.connect(path, isolation_level=None)) as old, closing(sqlite3.connect(new)) as target:
        tables = _schema(old, "table")
        for name, sql in tables:
            target.execute(sql)
            count = _copy(old, target, name)
            if count:
                lost.append(f"table {name}: {count}")
        for _, sql in _schema(old, "index"):
            target.execute(sql)
        if {"trials", "trial_values"} <= {name for name, _ in tables}:
            lost += _study(target)
        target.commit()
    return lost


def _study(database: sqlite3.Connection) -> list[str]:
    """See to it that no trial seems complete that is not, and that trials keep their numbers and their study."""
    children = {key: _tables_with(database, key) for key in ("study_id", "trial_id")}
    lost = [words for child in children["study_id"] if child != "studies" for words in _named(database, child)]
    for child in children["trial_id"]:
        if child != "trials":
            lost += _began(database, child)
    failed = database.execute(_UNFINISHED).rowcount
    lost += [f"the values of {failed} complete trials, which count as failed now"] if failed else []
    for (study,) in database.execute("SELECT DISTINCT study_id FROM trials").fetchall():
        lost += _numbered(database, study)
    return lost


def _tables_with(database: sqlite3.Connection, column: str) -> list[str]:
    names = [name for name, _ in _schema(database, "table")]
    return [name for name in names if column in {row[1] for row in database.execute(f'PRAGMA table_info("{name}")')}]


def _began(database: sqlite3.Connection, child: str) -> list[str]:
    """Put failed trials in the place of those of which rows are left, but not their own."""
    query = f'SELECT DISTINCT trial_id FROM "{child}" WHERE trial_id NOT IN (SELECT trial_id FROM trials)'  # noqa: S608
    lost = []
    for (trial,) in database.execute(query + " ORDER BY trial_id").fetchall():
        near = "SELECT study_id FROM trials ORDER BY abs(trial_id - ?) LIMIT 1"
        row = (
            database.execute(near, (trial,)).fetchone()
            or database.execute("SELECT min(study_id) FROM studies").fetchone()
        )
        count = "SELECT count(*) FROM trials WHERE study_id = ? AND trial_id < ?"  # as Optuna numbers them
        (number,) = database.execute(count, (row[0], trial)).fetchone()
        database.execute(_STAND_IN, (trial, number, row[0]))
        lost.append(f"how trial {number} ended, which counts as failed now")
    return lost


def _named(database: sqlite3.Connection, child: str) -> list[str]:
    """Give studies of which rows are left, but not their own, the name that their latest command has, or another."""
    query = f'SELECT DISTINCT study_id FROM "{child}" WHERE study_id NOT IN (SELECT study_id FROM studies)'  # noqa: S608
    lost = []
    for (study,) in database.execute(query).fetchall():
        notes = database.execute("SELECT value_json FROM study_user_attributes WHERE study_id = ?", (study,)).fetchall()
        found = re.search(r'hydra\.sweeper\.study_name=([\w.-]+)"', " ".join(note for (note,) in notes))
        name = found[1] if found else f"study-{study}"
        database.execute("INSERT INTO studies (study_id, study_name) VALUES (?, ?)", (study, name))
        lost.append(f"the name of study {study}, which is called {name!r} now")
    return lost


def _numbered(database: sqlite3.Connection, study: int) -> list[str]:
    """Put failed trials in the place of lost ones: the number of the next trial is how many there are."""
    taken = {rowid for (rowid,) in database.execute("SELECT trial_id FROM trials")}
    rows = database.execute("SELECT number, trial_id FROM trials WHERE study_id = ?", (study,))
    known, before, lost = dict(rows.fetchall()), 0, []
    for number in range(max(known)):
        if number not in known:
            known[number] = next(n for n in itertools.count(before + 1) if n not in taken)
            taken.add(known[number])
            database.execute(_STAND_IN, (known[number], number, study))
            lost.append(f"trial {number}, which counts as failed now")
        before = known[number]
    return lost


def _schema(database: sqlite3.Connection, kind: str) -> list[tuple[str, str]]:
    query = "SELECT name, sql FROM sqlite_master WHERE type = ? AND sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
    return [(name, sql) for name, sql in database.execute(query, (kind,))]


def _copy(old: sqlite3.Connection, target: sqlite3.Connection, table: str) -> str:
    """Copy a table's rows; what is missing in words, or nothing."""
    quoted = '"' + table.replace('"', '""') + '"'
    rows: dict[int, tuple[Any, ...]] = {}
    whole = _scan(old, quoted, "ASC", rows)
    if not whole:
        first = max(rows, default=0)
        _scan(old, quoted, "DESC", rows)
        later = [rowid for rowid in rows if rowid > first]
        _try_singly(old, quoted, range(first + 1, min(later, default=first + 1)), rows)
    refused = 0
    for rowid in sorted(rows):
        values = rows[rowid]
        marks = ",".join("?" * len(values))
        try:
            target.execute(f"INSERT INTO {quoted} VALUES ({marks})", values)  # noqa: S608 - quoted above
        except sqlite3.DatabaseError:
            refused += 1
    if whole and not refused:
        return ""
    return f"{len(rows) - refused} rows saved, the others cannot be read"


def _scan(database: sqlite3.Connection, table: str, order: str, rows: dict[int, tuple[Any, ...]]) -> bool:
    """Read rows from one end until it fails; False where it has failed."""
    query = f"SELECT rowid, * FROM {table} NOT INDEXED ORDER BY rowid {order}"  # noqa: S608 - quoted by the caller
    try:
        for rowid, *values in database.execute(query):
            if rowid in rows:
                return False
            rows[rowid] = tuple(values)
    except sqlite3.DatabaseError:
        return False
    return True


def _try_singly(database: sqlite3.Connection, table: str, rowids: range, rows: dict[int, tuple[Any, ...]]) -> None:
    query = f"SELECT * FROM {table} NOT INDEXED WHERE rowid = ?"  # noqa: S608 - quoted by the caller
    for rowid in rowids[:_MOST_TRIED]:
        with suppress(sqlite3.DatabaseError):
            for values in database.execute(query, (rowid,)):
                rows[rowid] = tuple(values)
