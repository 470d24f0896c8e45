"""Checkpoints: one file an epoch, replaced atomically, read back without executing anything in it."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch

from rnn_sweep.errors import UserError

FILE = "checkpoint.pt"
VERSION = 2


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, lists, dicts) as the folder's checkpoint.

    The file appears whole or not at all: it is written beside the old one, flushed to disk, and renamed over it.

    Raises:
        OSError: it cannot be written.
    """
    temporary = folder / f".{FILE}.{os.getpid()}"
    content = io.BytesIO()  # torch has an error of its own for a disk that is full
    torch.save({"version": VERSION, **state}, content)
    try:
        with temporary.open("wb") as stream:
            stream.write(content.getbuffer())
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(folder / FILE)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def load(folder: Path) -> dict[str, Any]:
    """Read the folder's checkpoint.

    Raises:
        UserError: there is no checkpoint, it is damaged, or another version of the program wrote it.
    """
    path = folder / FILE
    if not folder.is_dir():
        raise UserError(f"trainer.resume must be the output folder of a run; there is no folder {str(folder)!r}")
    if not path.is_file():
        raise UserError(f"trainer.resume must be the output folder of a run; there is no {FILE} in {str(folder)!r}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a damaged archive; all mean the same to the user
        raise UserError(f"trainer.resume: {path} is damaged and cannot be read ({type(error).__name__})") from error
    if not isinstance(state, dict) or state.get("version") != VERSION:
        found = state.get("version") if isinstance(state, dict) else type(state).__name__
        raise UserError(f"trainer.resume: {path} must be a checkpoint of version {VERSION}, got {found!r}")
    return state
