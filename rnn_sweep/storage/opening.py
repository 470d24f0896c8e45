"""Opening a storage by its URL, or one message that says why it cannot be."""

from __future__ import annotations

import os
import random
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rnn_sweep.errors import UserError, damaged
from rnn_sweep.redaction import masked, one_line, unmasked
from rnn_sweep.storage.location import lock_file
from rnn_sweep.timeouts import within

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

ANSWER_SECONDS = 8.0
"""How long a server may take to answer the first time."""
_GRPC_PORT = 13000
_EXTRAS = {"postgresql": "postgresql", "redis": "redis", "rediss": "redis", "grpc": "grpc"}
"""By scheme, the extra of this package that installs the driver."""


class Unreachable(UserError):  # noqa: N818 - what happened, which may pass
    """The storage did not answer, or was not ready."""


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna's notes on experimental features and numpy's on curves of NaN off the terminal."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


@contextmanager
def at_once(storage: BaseStorage) -> Iterator[None]:
    """Within it a database may keep back what is written to new trials; at its end all of that is written together."""
    patience = getattr(storage, "_patience", None)
    if patience is None or not hasattr(patience.storage, "hold"):
        yield
        return
    patience.storage.hold()
    try:
        yield
    finally:
        patience.call("release")


def open_storage(url: str) -> BaseStorage:
    """Open the Optuna storage behind a URL, creating its schema where it is new.

    ``journal:///absolute/file`` or ``journal://relative/file``; ``sqlite:///``, ``postgresql://``,
    ``mysql://`` and other SQLAlchemy URLs; ``redis://``; ``grpc://host:port`` (Optuna's proxy). A storage
    behind a network answers the first time within ten seconds, and outlasts breaks of up to a minute later, see
    :mod:`rnn_sweep.storage.retry`.

    Raises:
        UserError: a bad URL, a driver that is missing, a store that cannot be written, or a schema that this version
            of Optuna does not take.
        Unreachable: a server that is not there, or does not let this program in.
    """
    from rnn_sweep.storage.retry import is_break, patient

    full = unmasked(url)
    scheme, _, place = full.partition("://")
    try:
        with quiet():
            if scheme == "journal":
                return _open_journal(Path(place))
            openers = {"redis": _open_redis, "rediss": _open_redis, "grpc": _open_proxy}
            return patient(openers.get(scheme, _open_database)(full), full)
    except UserError:
        raise
    except ImportError as error:
        raise UserError(f"hydra.sweeper.storage={masked(url)} needs {_missing(error, scheme)}") from None
    except Exception as error:  # the drivers' own exception types are not importable without them
        driver = getattr(error.__cause__ or error, "orig", None) or error  # SQLAlchemy's own text adds a paragraph
        kind = Unreachable if isinstance(error, OSError) or is_break(error) else UserError
        raise kind(f"hydra.sweeper.storage={masked(url)} cannot be opened: {one_line(str(driver), full)}") from None


def _open_journal(path: Path) -> BaseStorage:
    from optuna.storages import JournalStorage

    from rnn_sweep.storage.journal import JournalFile

    file = JournalFile(path)
    try:
        return JournalStorage(file)
    except UserError:
        raise
    except Exception as error:  # Optuna's, of a line that makes no sense to it
        raise damaged(path, f"line {file.line} means nothing to Optuna ({type(error).__name__}: {error})") from None


def open_patiently(url: str) -> BaseStorage:
    """As :func:`open_storage`, for a job whose sweep has begun: waits for a server as long as later calls would."""
    from rnn_sweep.storage.retry import PATIENCE_SECONDS

    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return open_storage(url)
        except Unreachable:
            if time.monotonic() > end:
                raise
        time.sleep(random.uniform(0.5, 2.0))  # noqa: S311 - so that many do not come back at once


def _missing(error: ImportError, scheme: str) -> str:
    extra = _EXTRAS.get(scheme.partition("+")[0])
    how = f"; pip install 'rnn-sweep[{extra}]'" if extra else ""
    return f"a package that is missing: {error.__cause__ or error}{how}"


def _open_redis(url: str) -> BaseStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalRedisBackend
    from redis import Redis

    with Redis.from_url(url, socket_connect_timeout=ANSWER_SECONDS / 2) as probe:
        within(ANSWER_SECONDS, probe.ping)
    return JournalStorage(JournalRedisBackend(url))


def _open_proxy(url: str) -> BaseStorage:
    from optuna.storages import GrpcStorageProxy

    parts = urlsplit(url)
    host, port = parts.hostname or "localhost", parts.port or _GRPC_PORT
    proxy = GrpcStorageProxy(host=host, port=port)
    try:
        proxy.wait_server_ready(ANSWER_SECONDS)
    except ConnectionError:
        raise TimeoutError(f"no answer within {ANSWER_SECONDS:.0f} s") from None
    return proxy


def _open_database(url: str) -> BaseStorage:
    from rnn_sweep.storage.database import check_pages, open_database, probe

    if not url.startswith("sqlite"):
        within(ANSWER_SECONDS, lambda: probe(url))
        return open_database(url)
    with _one_creator(url):
        check_pages(url)
        return open_database(url)


@contextmanager
def _one_creator(url: str) -> Iterator[None]:
    """Let one process at a time look for the schema, and create it where there is none: two would both fail."""
    from filelock import FileLock

    lock = lock_file(url)
    with FileLock(lock) if lock and os.access(Path(lock).parent, os.W_OK) else nullcontext():
        yield
