"""Journal files: one line for each change, appended under a lock, each of them checked when it is read."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock
from optuna.storages import journal
from optuna.storages.journal._file import BaseJournalFileLock, get_lock_file

from rnn_sweep.errors import UserError, damaged

LAST_OPERATION = 10
CREATE_STUDY, DELETE_STUDY, CREATE_TRIAL = 0, 1, 4
_OF_STUDIES, _OF_TRIALS = frozenset({2, 3}), frozenset({5, 6, 7, 8, 9})
"""Operations by their codes in Optuna's journal."""


class Missing(ValueError):  # noqa: N818 - what is the matter
    """A line speaks of a study or a trial that no line before it has created: one is missing."""


class Numbering:
    """Studies and trials are numbered by their order in the file: a line that is lost would shift the others."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._studies = 0
        self.trials = 0

    def take(self, line: Mapping[str, Any]) -> None:
        """Take in the next line.

        Raises:
            Missing: a line before it is missing.
            KeyError, TypeError, ValueError: it is no line of a journal.
        """
        operation = line["op_code"]
        if not isinstance(operation, int) or not 0 <= operation <= LAST_OPERATION:
            raise ValueError(f"op_code must be an integer from 0 to {LAST_OPERATION}, got {operation!r}")
        if operation == CREATE_STUDY:
            if line["study_name"] not in self._names.values():
                self._names[self._studies] = line["study_name"]
                self._studies += 1
        elif operation in _OF_TRIALS:
            if line["trial_id"] >= self.trials:
                raise Missing(f"no line before it begins a trial of id {line['trial_id']}")
        elif operation in (CREATE_TRIAL, DELETE_STUDY, *_OF_STUDIES):
            study = line["study_id"]
            if study >= self._studies:
                raise Missing(f"no line before it begins a study of id {study}")
            if operation == DELETE_STUDY:
                self._names.pop(study, None)
            self.trials += operation == CREATE_TRIAL and study in self._names


class _Lock(BaseJournalFileLock):
    """A lock that the system releases when its holder is killed."""

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(f"{path}.lock", poll_interval=0.002)

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


class JournalFile(journal.JournalFileBackend):
    """Without a sync to the disk for each line, which costs more than all else that a small trial does.

    A killed process loses nothing by that; a machine that goes down may lose its last seconds.

    Raises:
        UserError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._own_lock = path, _Lock(path)
        self._next, self._numbering = (0, 0), Numbering()
        """The number of the line to be read next, from 0, and where in the file it begins."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with get_lock_file(self._own_lock):
                _drop_torn_line(path)
            super().__init__(str(path), lock_obj=self._own_lock)
        except OSError as error:
            raise UserError(f"hydra.sweeper.storage: {path} cannot be written: {error.strerror or error}") from None

    @property
    def line(self) -> int:
        """The number of the line that was read last, from 1."""
        return self._next[0]

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """The lines from a number on, up to one that is still being written.

        Raises:
            Damaged: a line is not what a journal holds, or one is missing.
        """
        if log_number_from < self._next[0]:
            self._next, self._numbering = (0, 0), Numbering()
        with self._path.open("rb") as file:
            file.seek(self._next[1])
            for content in file:
                if not content.endswith(b"\n"):
                    return
                number, place = self._next
                try:
                    line = json.loads(content)
                    self._numbering.take(line)
                except (ValueError, KeyError, TypeError) as error:
                    raise damaged(self._path, f"line {number + 1}: {said(error)}") from None
                self._next = number + 1, place + len(content)
                if number >= log_number_from:
                    yield line

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines, all of them or none."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        with get_lock_file(self._own_lock), self._path.open("ab", buffering=0) as file:
            file.write(lines)


def said(error: Exception) -> str:
    """What is wrong with a line, in one line."""
    if isinstance(error, Missing):
        return str(error)
    kind = "is no JSON" if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) else "is no change of a study"
    return f"{kind} ({type(error).__name__}: {error})"


def lock(path: Path) -> Any:
    """Hold a journal's writers off within the context."""
    return get_lock_file(_Lock(path))


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
