"""The tracking store: is it there, can it be written, and who creates it."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rnn_sweep.errors import UserError, near
from rnn_sweep.redaction import complete, first_line, mask
from rnn_sweep.tracking import system
from rnn_sweep.tracking.server import open_server
from rnn_sweep.tracking.sqlite import absolute, artifact_root, open_sqlite
from rnn_sweep.tracking.unusable import unusable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

    from rnn_sweep.config import TrackingConfig

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
SERVERS = ("http", "https")


@dataclass(frozen=True)
class Store:
    """An open store: its address in the form that works from any folder, and a client of it."""

    uri: str
    client: MlflowClient
    database: Path | None
    """The file of a sqlite store; None for servers."""


_opened: dict[str, Store] = {}


def check(config: TrackingConfig) -> None:
    """Make sure that runs can be recorded, before anything is computed.

    Creates the sqlite database if it is not there yet (once, even if several processes ask at the same time)
    and nothing else.

    Raises:
        UserError: the store is of a scheme that MLflow does not support, cannot be reached or written, or its
            experiment cannot take runs, or a package is missing. Names the key and the value, the password masked;
            answers within ten seconds.
    """
    if config.enabled:
        if config.system_metrics:
            system.check()
        store = open_store(config)
        with quiet():
            find_experiment(store, config)


def open_store(config: TrackingConfig) -> Store:
    """Open the store of ``config``; a second call in the same process returns the same one.

    Raises:
        UserError: as :func:`check`.
    """
    given = complete(config.uri)
    scheme = _scheme(given)
    uri, database = absolute(given) if scheme == "sqlite" else (given, None)
    if uri not in _opened:
        with quiet():
            if database:
                client = open_sqlite(given, uri, database)
            else:
                client = open_server(given, is_database=scheme in DATABASES)
        _opened[uri] = Store(uri, client, database)
    return _opened[uri]


def find_experiment(store: Store, config: TrackingConfig) -> Experiment | None:
    """The experiment of ``config``, or None if there is none of that name yet.

    Raises:
        UserError: it was deleted, its files can only be reached through a server, or the store is unusable.
    """
    from mlflow.exceptions import MlflowException

    try:
        found = store.client.get_experiment_by_name(config.experiment)
    except MlflowException as error:
        raise unusable(config.uri, error) from error
    if found is None:
        return None
    if found.lifecycle_stage == "deleted":
        raise UserError(
            f"tracking.experiment must not be a deleted experiment: got '{config.experiment}' "
            f"(restore it with `mlflow experiments restore -x {found.experiment_id}`, or name another)"
        )
    if found.artifact_location.startswith("mlflow-artifacts:") and _scheme(config.uri) in DATABASES:
        raise UserError(
            f"tracking.uri must be the server's http address for tracking.experiment '{config.experiment}', "
            f"whose files that server keeps: got '{mask(config.uri)}' (or name another experiment)"
        )
    return found


def experiment_id(store: Store, config: TrackingConfig) -> str:
    """The id of the experiment of ``config``, which is created if it is not there yet.

    Raises:
        UserError: as :func:`find_experiment`, or the name is none that MLflow takes.
    """
    from mlflow.exceptions import MlflowException

    found = find_experiment(store, config)
    if found is None:
        # Beside the database and not in the working folder, so that the files are found from everywhere.
        folder = artifact_root(store.database) / _folder_name(config.experiment) if store.database else None
        location = folder.as_uri() if folder else None
        try:
            return str(store.client.create_experiment(config.experiment, location))
        except MlflowException as error:
            found = find_experiment(store, config)  # another process may have been faster
            if found is None:
                reason = first_line(error, config.uri)
                raise UserError(f"tracking.experiment cannot be '{config.experiment}': {reason}") from error
    return str(found.experiment_id)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep MLflow, Alembic and SQLAlchemy from logging: what goes wrong is said by our own exceptions.

    Several threads may be within at a time: the first one in and the last one out turn the switch, which takes long.
    """
    import mlflow  # noqa: F401 (its import sets these levels)

    with _switch:
        if not _within:
            _levels.update({name: logging.getLogger(name).level for name in _LOGGERS})
            _set(dict.fromkeys(_LOGGERS, logging.CRITICAL + 1))
        _within.append(threading.get_ident())
    try:
        yield
    finally:
        with _switch:
            _within.pop()
            if not _within:
                _set(_levels)


_LOGGERS = ("mlflow", "alembic", "sqlalchemy", "urllib3")
_switch = threading.Lock()
_levels: dict[str, int] = {}
_within: list[int] = []


def _set(levels: Mapping[str, int]) -> None:
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def _scheme(uri: str) -> str:
    scheme, colon, _ = uri.partition(":")
    known = scheme.partition("+")[0].lower()  # postgresql+psycopg
    if colon and known in DATABASES + SERVERS and "://" in uri:
        return known
    kinds = ", ".join(f"{name}://" for name in DATABASES + SERVERS)
    hint = near(known, DATABASES + SERVERS) if colon and known != "file" else "MLflow no longer writes to plain folders"
    raise UserError(f"tracking.uri must begin with one of {kinds}: got '{mask(uri)}' ({hint})")


def _folder_name(experiment: str) -> str:
    name = re.sub(r"[^\w.-]+", "-", experiment)
    if name == experiment and name.strip("."):
        return name
    return f"{name}-{hashlib.sha256(experiment.encode()).hexdigest()[:8]}"
