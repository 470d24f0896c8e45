"""Journal files: one line for each change, appended under a lock."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from filelock import FileLock
from optuna.storages import journal
from optuna.storages.journal._file import BaseJournalFileLock, get_lock_file

from rnn_sweep.errors import UserError


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
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with get_lock_file(self._own_lock):
                _drop_torn_line(path)
            super().__init__(str(path), lock_obj=self._own_lock)
        except OSError as error:
            raise UserError(f"hydra.sweeper.storage: {path} cannot be written: {error.strerror or error}") from None

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines, all of them or none."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        with get_lock_file(self._own_lock), self._path.open("ab", buffering=0) as file:
            file.write(lines)


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
