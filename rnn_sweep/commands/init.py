"""Small projects of one's own that run at once, in three kinds."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

from rnn_sweep.errors import UserError

TEMPLATES = Path(__file__).parent / "project"


def kind_of(**asked: bool) -> str:
    """Which kind was asked for, ``torch`` where none was.

    Raises:
        UserError: several were, or the library of the one is not installed.
    """
    kinds = [kind for kind, yes in asked.items() if yes] or ["torch"]
    if len(kinds) > 1:
        raise UserError(f"one of {', '.join(f'--{kind}' for kind in asked)} must be given at most, got {len(kinds)}")
    if find_spec(kinds[0]) is None:
        way = f"pip install 'rnn-sweep[{kinds[0]}]'"
        raise UserError(f"--{kinds[0]} needs the package {kinds[0]}, which is not installed: {way}")
    return kinds[0]


def init(folder: Path, kind: str) -> None:
    """Write a project into a new folder.

    Args:
        folder: of the project.
        kind: ``torch``, ``lightning`` or ``sklearn``: what its training function is written with.

    Raises:
        UserError: the folder is there and not empty, or cannot be made.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"NAME must be a new or empty folder, got {str(folder)!r}")
    try:
        shutil.copytree(TEMPLATES / kind, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    except OSError as error:
        raise UserError(f"NAME must be a folder that can be made, got {str(folder)!r}: {error.strerror}") from None
