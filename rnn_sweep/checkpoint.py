"""Checkpoints: one file an epoch, replaced atomically, read back without executing anything in it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

from rnn_sweep.errors import UserError, damaged
from rnn_sweep.files import CHECKPOINT_FILE, replacing

VERSION = 5


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, lists, dicts) as the folder's checkpoint.

    The file appears whole or not at all: it is written beside the old one, flushed to disk, and renamed over it.

    Raises:
        OSError: it cannot be written.
    """
    import torch

    content = io.BytesIO()  # torch has an error of its own for a disk that is full
    torch.save({"version": VERSION, **state}, content)
    with replacing(folder / CHECKPOINT_FILE) as temporary:
        temporary.write_bytes(content.getbuffer())


def load(folder: Path, key: str = "trainer.resume") -> dict[str, Any]:
    """Read the folder's checkpoint; ``key`` is the setting that named the folder.

    Raises:
        Damaged: it cannot be read as it was written.
        UserError: there is no checkpoint, or another version of the program wrote it.
    """
    import torch

    path = folder / CHECKPOINT_FILE
    if not folder.is_dir():
        raise UserError(f"{key} must be the output folder of a run; there is no folder {str(folder)!r}")
    if not path.is_file():
        raise UserError(f"{key} must be the output folder of a run; there is no {CHECKPOINT_FILE} in {str(folder)!r}")
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()  # torch itself does not compare the checksums
        if broken is not None:
            raise damaged(path, f"the checksum of its part {broken!r} differs")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # there are many types for a damaged archive; all mean the same to the user
        raise damaged(path, f"it is no whole archive ({type(error).__name__}: {error})") from error
    if not isinstance(state, dict) or state.get("version") != VERSION:
        found = state.get("version") if isinstance(state, dict) else type(state).__name__
        raise UserError(f"{key}: {path} must be a checkpoint of version {VERSION}, got {found!r}")
    return state
