"""The job's side of a sweep: report to the study, ask whether to go on, leave notes on the trial.

A trial's identity is data. The sweeper puts it into the top-level config node ``trial``, which an application
declares as ``trial: null``; in a plain run it stays null and every call here does nothing, without importing
Optuna.
"""

from __future__ import annotations

import functools
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from rnn_sweep.errors import UserError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage

STORAGE_VARIABLE = "RNN_SWEEP_STORAGE"
"""Where the password of a storage URL is looked up: the same URL, complete."""

PRUNER_ATTR = "pruner"
"""Study attribute with the pruner as a JSON ``_target_`` node."""


class Reporter:
    """What a job says to its study.

    Args:
        identity: the config node ``trial``: ``{study_name, storage, number, …}``, or None in a plain run.
    """

    def __init__(self, identity: Mapping[str, Any] | None) -> None:
        self._identity = identity

    def report(self, step: int, value: float) -> bool:
        """Record the objective's value at ``step`` (from 0; once for each step) and ask whether to go on.

        Returns:
            False when the study's pruner stops this trial; always True in a plain run and with several
            objectives.
        """
        if self._identity is None or len(self._study.directions) > 1:
            return True
        storage, trial_id = self._study._storage, self._trial_id
        trial = storage.get_trial(trial_id)
        if trial.state.is_finished():  # the sweeper gave it up: its time is over, or it was taken for dead
            return False
        if step not in trial.intermediate_values:
            storage.set_trial_intermediate_value(trial_id, step, float(value))
        with quiet():
            return not self._study.pruner.prune(self._study, storage.get_trial(trial_id))

    def note(self, key: str, value: object) -> None:
        """Leave a JSON-serialisable value on the trial (an Optuna user attribute), such as a run id."""
        if self._identity is not None:
            self._study._storage.set_trial_user_attr(self._trial_id, key, value)

    @functools.cached_property
    def _study(self) -> Study:
        import optuna

        identity = self._identity or {}
        storage = _shared_storage(str(identity["storage"]))
        study = optuna.load_study(study_name=str(identity["study_name"]), storage=storage)
        node = study.user_attrs.get(PRUNER_ATTR)
        study.pruner = build_pruner(json.loads(node) if node else None)
        return study

    @functools.cached_property
    def _trial_id(self) -> int:
        number = int((self._identity or {})["number"])
        return self._study._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna's notes on experimental features and numpy's on curves of NaN off the terminal."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def build_pruner(node: Mapping[str, Any] | None) -> BasePruner:
    """Make a pruner from its ``_target_`` node; a ``wrapped_pruner`` inside it may be a node, too.

    Only classes of ``optuna.pruners`` are accepted, because the node is read back from the study.

    Raises:
        UserError: an unknown pruner or an argument that it refuses.
    """
    from optuna import pruners

    if node is None:
        return pruners.NopPruner()
    target = str(node.get("_target_"))
    arguments = {k: v for k, v in node.items() if not str(k).startswith("_")}
    if isinstance(arguments.get("wrapped_pruner"), Mapping):
        arguments["wrapped_pruner"] = build_pruner(arguments["wrapped_pruner"])
    module, _, name = target.rpartition(".")
    if module != "optuna.pruners" or name not in pruners.__all__:
        known = ", ".join(f"optuna.pruners.{n}" for n in pruners.__all__)
        raise UserError(f"hydra.sweeper.pruner._target_ must be one of {known}; got {target!r}")
    try:
        with quiet():
            pruner: BasePruner = getattr(pruners, name)(**arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"hydra.sweeper.pruner: {name} refuses its arguments {arguments}: {error}") from error
    return pruner


def masked(url: str) -> str:
    """``url`` without the password in it."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}@{host}"))


def unmasked(url: str) -> str:
    """The inverse of :func:`masked`, where ``RNN_SWEEP_STORAGE`` has the same URL with its password."""
    full = os.environ.get(STORAGE_VARIABLE, "")
    return full if full and masked(full) == url else url


def open_storage(url: str) -> BaseStorage:
    """Open the Optuna storage behind a URL, creating its schema where it is new.

    ``journal:///absolute/file`` or ``journal://relative/file``; ``sqlite:///``, ``postgresql://``,
    ``mysql://`` and other SQLAlchemy URLs; ``redis://``; ``grpc://host:port`` (Optuna's proxy).

    Raises:
        UserError: a bad URL, a driver that is missing, or a store that cannot be reached or written.
    """
    from optuna import storages
    from optuna.storages import journal

    full = unmasked(url)
    scheme = full.partition("://")[0]
    try:
        with quiet():
            if scheme == "journal":
                return storages.JournalStorage(_journal_file(Path(full.partition("://")[2])))
            if scheme in ("redis", "rediss"):
                return storages.JournalStorage(journal.JournalRedisBackend(full))
            if scheme == "grpc":
                parts = urlsplit(full)
                return storages.GrpcStorageProxy(host=parts.hostname or "localhost", port=parts.port or 13000)
            return storages.get_storage(full)
    except UserError:
        raise
    except ImportError as error:
        raise UserError(f"hydra.sweeper.storage={masked(url)} needs a package that is missing: {error}") from None
    except Exception as error:  # the drivers' own exception types are not importable without them
        reason = re.sub(r"\s+", " ", str(error)).replace(full, masked(full))[:300]
        raise UserError(f"hydra.sweeper.storage={masked(url)} cannot be opened: {reason}") from None


@functools.lru_cache(maxsize=4)
def _shared_storage(url: str) -> BaseStorage:
    """One open storage for all trials of a worker process: replaying a journal costs time."""
    return open_storage(url)


def _journal_file(path: Path) -> Any:
    """The backend of a journal file, with a lock that the system releases when its holder is killed."""
    from filelock import FileLock
    from optuna.storages import journal
    from optuna.storages.journal._file import BaseJournalFileLock, get_lock_file

    class Lock(BaseJournalFileLock):
        def __init__(self) -> None:
            self._lock = FileLock(f"{path}.lock", poll_interval=0.002)

        def acquire(self) -> bool:
            self._lock.acquire()
            return True

        def release(self) -> None:
            self._lock.release()

    class Backend(journal.JournalFileBackend):
        """Without a sync to the disk for each line, which costs more than all else that a small trial does.

        A killed process loses nothing by that; a machine that goes down may lose its last seconds.
        """

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
            with get_lock_file(lock), path.open("ab", buffering=0) as file:
                file.write(lines)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = Lock()
        with get_lock_file(lock):
            _drop_torn_line(path)
        return Backend(str(path), lock_obj=lock)
    except OSError as error:
        raise UserError(f"hydra.sweeper.storage: {path} cannot be written: {error.strerror or error}") from None


def _drop_torn_line(path: Path) -> None:
    """Cut off a last line without its end, left by a writer that was killed; call with the lock held."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        tail = min(size, 1 << 20)
        file.seek(size - tail)
        content = file.read(tail)
        if content and not content.endswith(b"\n"):
            file.truncate(size - tail + content.rfind(b"\n") + 1)
