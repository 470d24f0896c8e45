"""Which kind of file it is, and what that kind of repair does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from rnn_sweep.commands.repair.copies import Repaired, set_aside
from rnn_sweep.errors import Damaged, UserError
from rnn_sweep.files import CHECKPOINT_FILE, OUTBOX_FILE, RESULT_FILE

_SQLITE = b"SQLite format 3\0"
_SQLITE_NAMES = frozenset({".db", ".sqlite", ".sqlite3"})


def repair(path: Path, direction: str | None = None) -> Repaired:
    """Repair a file that this program has written.

    Args:
        path: a study's journal or database, MLflow's database, a run's checkpoint, result or outbox, or a file in the
            cache of data sets.
        direction: see :func:`rnn_sweep.commands.repair.journal.repair`.

    Raises:
        UserError: it is none of these, nothing of it can be saved, or somebody is at work on it; it is as it was.
    """
    if not path.is_file():
        raise UserError(f"repair: there is no file {str(path)!r}")
    try:
        return _how(path, direction)()
    except OSError as error:
        raise UserError(f"repair: {path} cannot be repaired: {error.strerror or error}") from None


def _how(path: Path, direction: str | None) -> Callable[[], Repaired]:
    by_name: Mapping[str, Callable[[], Repaired]] = {
        CHECKPOINT_FILE: lambda: _checkpoint(path),
        RESULT_FILE: lambda: _result(path),
        OUTBOX_FILE: lambda: _outbox(path),
    }
    if path.name in by_name:
        return by_name[path.name]
    with path.open("rb") as file:
        first = file.read(len(_SQLITE))
    if first == _SQLITE or path.suffix in _SQLITE_NAMES:
        return lambda: _database(path)
    if path.suffix == ".journal" or first.startswith(b'{"op_code"'):
        return lambda: _journal(path, direction)
    from rnn_sweep.data.families import digits, fashion_mnist, mnist

    if path.name in {
        file.name for family in (digits.FAMILY, fashion_mnist.FAMILY, mnist.FAMILY) for file in family.files
    }:
        return lambda: Repaired(set_aside(path), ("it is fetched anew by the next run that needs it",))
    known = (
        f"*.journal, a database of sqlite, {CHECKPOINT_FILE}, {RESULT_FILE}, {OUTBOX_FILE}, or a file of the data cache"
    )
    raise UserError(f"repair: the file must be {known}; got {str(path)!r}")


def _journal(path: Path, direction: str | None) -> Repaired:
    from rnn_sweep.commands.repair import journal

    return journal.repair(path, direction)


def _database(path: Path) -> Repaired:
    from rnn_sweep.commands.repair import sqlite

    return sqlite.repair(path)


def _outbox(path: Path) -> Repaired:
    from rnn_sweep.commands.repair import outbox

    return outbox.repair(path)


def _checkpoint(path: Path) -> Repaired:
    from rnn_sweep.checkpoint import load

    try:
        load(path.parent)
    except Damaged:
        return Repaired(set_aside(path), ("what the run goes on from: it begins anew",))
    return Repaired(None)


def _result(path: Path) -> Repaired:
    from rnn_sweep.files import read_result

    try:
        read_result(path)
    except Damaged:
        again = f"; trainer.resume={path.parent} writes it again" if (path.parent / CHECKPOINT_FILE).is_file() else ""
        return Repaired(set_aside(path), (f"how the run ended; MLflow has its figures{again}",))
    return Repaired(None)
