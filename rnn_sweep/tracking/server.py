"""Stores behind a network: database servers and MLflow's own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rnn_sweep.timeouts import within
from rnn_sweep.tracking.unusable import unusable

if TYPE_CHECKING:
    from mlflow import MlflowClient

_DEADLINE = 8.0
"""Seconds that a server may take to answer the check."""
_BRIEF = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Of all later requests, where the user has not said otherwise: our own records are delivered again anyway."""
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
"""MLflow's own settings retry for four minutes: wrong before the start of a run."""


def open_server(uri: str, *, is_database: bool) -> MlflowClient:
    """A client of the server at ``uri``, which has answered once.

    Raises:
        UserError: there is no usable answer in time, or the database's driver is not installed.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        if is_database:
            within(_DEADLINE, lambda: _connect(uri))
            return MlflowClient(tracking_uri=uri)
        client = MlflowClient(tracking_uri=uri)
        with _environment(_IMPATIENT):
            within(_DEADLINE, lambda: client.search_experiments(max_results=1))
        for name, value in _BRIEF.items():
            os.environ.setdefault(name, value)
        return client
    except (OSError, ValueError, ImportError, SQLAlchemyError, MlflowException) as error:
        raise unusable(uri, _cause(error)) from error


def _cause(error: BaseException) -> BaseException:
    """The readable one of a chain: the system's own error, or the driver that is missing."""
    if isinstance(error, ImportError):
        return ImportError(f"{error}: the database's driver must be installed")
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.errno is not None:
            return link
        link = link.__cause__ or link.__context__
    return error


def _connect(uri: str) -> None:
    """Connect once: MLflow itself would try ten times, for minutes."""
    from sqlalchemy import create_engine

    engine = create_engine(uri)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
