"""The store in a sqlite file: created once, whole, and checked before use."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rnn_sweep.errors import UserError, damaged
from rnn_sweep.files import replacing, user_cache
from rnn_sweep.redaction import mask
from rnn_sweep.tracking.unusable import unusable

if TYPE_CHECKING:
    from mlflow import MlflowClient

_LOCK_SECONDS = 60.0
"""Seconds to wait for another process that is creating the same database."""


def absolute(uri: str) -> tuple[str, Path]:
    """The address and the path of a sqlite store in the form that holds in any working folder.

    Raises:
        UserError: ``uri`` names no file.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(uri)
    except (ArgumentError, ValueError) as error:
        raise unusable(uri, error) from error
    if url.host or not url.database or url.database.startswith((":memory:", "file:")):
        raise UserError(
            "tracking.uri must name a database file, as sqlite:///mlflow.db or sqlite:////folder/mlflow.db: "
            f"got '{mask(uri)}'"
        )
    path = Path(url.database).expanduser().absolute()
    return url.set(database=str(path)).render_as_string(hide_password=False), path


def artifact_root(database: Path) -> Path:
    """Folder of the runs' files: beside the database, where ``mlflow ui`` looks for them."""
    return database.parent / "mlruns"


def open_sqlite(given: str, uri: str, path: Path) -> MlflowClient:
    """A client of the database ``path``, which is created if it is not there yet.

    Args:
        given: the address as the user wrote it, for messages.
        uri: the same with an absolute path.
        path: the database file.

    Raises:
        Damaged: it is no database any more.
        UserError: the file cannot be created or written, or is no database of this version of MLflow.
    """
    from filelock import FileLock, Timeout
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", timeout=_LOCK_SECONDS):
            if not path.exists():
                _create_sqlite(path)
            _check_sqlite(given, path)
            return MlflowClient(tracking_uri=uri)
    except Timeout as error:
        raise UserError(f"tracking.uri must not be locked by another process: got '{given}'") from error
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):  # locked, read-only
            raise unusable(given, error) from error
        raise damaged(path, str(error)) from None
    except (OSError, sqlite3.Error, SQLAlchemyError, MlflowException) as error:
        raise unusable(given, error) from error


def _create_sqlite(path: Path) -> None:
    """Create the database under another name first: a process killed meanwhile leaves no half of one.

    MLflow makes a new one by some seventy migrations, which take half a second or more; that happens once for each
    version of MLflow, and later databases begin as a copy.
    """
    import mlflow

    empty = user_cache() / f"mlflow-{mlflow.__version__}.db"
    copy, anew = (path.with_name(f"{path.name}.{how}") for how in ("copy", "new"))
    anew.unlink(missing_ok=True)
    try:
        shutil.copyfile(empty, copy)
        _check_empty(copy)
        _fill(copy, path)
        os.replace(copy, path)
    except Exception:  # not there yet, damaged, or of another schema: MLflow begins anew, and says what else is wrong
        copy.unlink(missing_ok=True)
        _fill(anew, path)
        with suppress(OSError, sqlite3.Error):
            _keep_empty(anew, empty)
        os.replace(anew, path)


def _check_empty(copy: Path) -> None:
    """Raise what is wrong with a copy, which MLflow would try to open again and again."""
    with closing(sqlite3.connect(copy)) as database:
        database.execute("SELECT name FROM experiments")
        if database.execute("PRAGMA quick_check").fetchall() != [("ok",)]:
            raise damaged(copy, "it fails sqlite's check")


def _fill(unfinished: Path, path: Path) -> None:
    """Let MLflow create what is missing in the file that becomes ``path``: tables, the default experiment."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(  # type: ignore[no-untyped-call]
        f"sqlite:///{unfinished}", artifact_root(path).as_uri()
    )
    store.engine.dispose()


def _keep_empty(filled: Path, empty: Path) -> None:
    """Keep a copy without experiments, whose default one has the place of its files in it."""
    empty.parent.mkdir(parents=True, exist_ok=True)
    with replacing(empty) as copy:
        shutil.copyfile(filled, copy)
        with closing(sqlite3.connect(copy, isolation_level=None)) as database:
            database.execute("DELETE FROM experiments")


def _check_sqlite(given: str, path: Path) -> None:
    with closing(sqlite3.connect(path, timeout=5, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")  # fails on a file that is read-only or no database
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        database.execute("ROLLBACK")
    if tables and not {"experiments", "runs"} <= tables:
        raise UserError(f"tracking.uri must be a database of MLflow: got '{given}', which holds other tables")
