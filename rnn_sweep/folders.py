"""Folders that a run or a sweep will make on a user's word."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rnn_sweep.errors import UserError


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
