"""Names of the files that runs and sweeps leave, their folders, and files that appear whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rnn_sweep.errors import UserError, damaged
from rnn_sweep.outcome import State

RESULT_FILE = "result.json"
CHECKPOINT_FILE = "checkpoint.pt"
WEIGHTS_FILE = "weights.safetensors"
GRADIENTS_FILE = "gradients.json"
OUTBOX_FILE = "mlflow-outbox.jsonl"
"""In a run's folder while the tracking store does not have all of its records."""
CURVES_FILE = "curves.png"
CONFIG_FILE = "config.yaml"
"""Artifact of a run: its configuration; Hydra's own name for the file in the run's folder, too."""
OVERRIDES_FILE = "overrides.yaml"
RESULTS_FILE = "optimization_results.yaml"
"""Of a sweep, in its folder; the official sweeper's name."""
REPORT_FILE = "report.html"
SCHEDULE_FILE = "schedule.yaml"
"""Of a population, in its sweep's folder: what its winner was trained with."""

RUN_FILES = (RESULT_FILE, CHECKPOINT_FILE, OUTBOX_FILE)
"""What a run leaves in its folder: its result, what it goes on from, and records that the store has not taken yet."""


def user_cache() -> Path:
    """Folder of what any project may use again: ``rnn-sweep`` in the user's cache (as XDG has it)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rnn-sweep"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what becomes the file ``path`` at the end of the block; a block that raises leaves nothing.

    The content is flushed to disk first: after a power cut the file is the old one or the new one.

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_result(path: Path) -> dict[str, Any]:
    """What :func:`rnn_sweep.run.record.write_result` has written.

    Raises:
        Damaged: it is not that.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        State(result["state"])
        kinds = {"metrics": dict, "values": list, "history": list, "overrides": list}
        wrong = [key for key, kind in kinds.items() if not isinstance(result[key], kind)]
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path, f"it is no result of a run ({type(error).__name__}: {error})") from None
    if wrong:
        raise damaged(path, f"its {wrong[0]} must be a {kinds[wrong[0]].__name__}, got {result[wrong[0]]!r}")
    return dict(result)


def has_ended(folder: Path) -> bool:
    """Whether the folder holds the result of a run that is over, and not one to go on with.

    Raises:
        Damaged: it cannot be read.
    """
    path = folder / RESULT_FILE
    return path.is_file() and read_result(path)["state"] != State.INTERRUPTED.value


@contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Say that this process writes to a folder, until the block or the process ends; False where another one does."""
    if os.name != "posix":
        yield True
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield claim(descriptor)
    finally:
        os.close(descriptor)


def claim(file: IO[str] | int) -> bool:
    """Say that this process takes care of a file or folder, until it closes it or ends; False if another one does."""
    if os.name != "posix":
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def configuration() -> Path:
    """``conf/`` of the package's own application: within an installed package, or beside it in a clone."""
    package = Path(__file__).resolve().parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def check(key: str, folder: str) -> None:
    """Check that the folder which the setting ``key`` names can be made, and leave nothing behind.

    Raises:
        UserError: it cannot be made.
    """
    path = Path(folder).absolute()
    there = next(each for each in (path, *path.parents) if each.exists())
    try:
        with tempfile.TemporaryDirectory(dir=there):
            pass
    except OSError as error:
        raise UserError(f"{key} must be a folder that can be made, got {folder!r}: {error.strerror or error}") from None


def check_unused(key: str, folder: str, way: str, names: Sequence[str] = RUN_FILES) -> None:
    """Check that the folder which the setting ``key`` names does not hold an earlier run, which would be overwritten.

    Raises:
        UserError: it does; the message says the ``way`` to go on with that run.
    """
    if any((Path(folder) / name).exists() for name in names):
        rule = f"{key} must be a folder without an earlier run, which would be overwritten, got {folder!r}"
        raise UserError(f"{rule}; {way}, or take another folder")
