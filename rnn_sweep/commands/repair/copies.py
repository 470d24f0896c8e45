"""Copies of damaged files, and files that take their place."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass
from pathlib import Path

from rnn_sweep.files import replacing


@dataclass(frozen=True)
class Repaired:
    """What has become of a file."""

    copy: Path | None
    """The file as it was; None where nothing was wrong with it."""
    lost: tuple[str, ...] = ()
    """What could not be saved, and what it means."""


def free_name(path: Path) -> Path:
    """A name beside ``path`` that no file has."""
    names = itertools.chain([""], (f"-{n}" for n in itertools.count(2)))
    return next(p for n in names if not (p := path.with_name(f"{path.name}.damaged{n}")).exists())


def replace(path: Path, content: bytes) -> Path:
    """Put ``content`` in the place of a file, at once; returns the copy of what was there."""
    copy = free_name(path)
    shutil.copy2(path, copy)
    with replacing(path) as new:
        new.write_bytes(content)
    return copy


def set_aside(path: Path) -> Path:
    """Take a file out of the way; returns where it is."""
    return path.rename(free_name(path))
