"""Folders that are made on a user's word."""

from __future__ import annotations

from pathlib import Path

from rnn_sweep.errors import UserError


def make(key: str, folder: str) -> None:
    """Make the folder that the setting ``key`` names, where it is not there yet.

    Raises:
        UserError: it cannot be made.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{key} must be a folder that can be made, got {folder!r}: {error.strerror or error}") from None
