"""Runs ``run.py`` with many command lines, each in a process and a folder of its own."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests import warm
from tests.conftest import command

LIMIT_SECONDS = 240
"""After which a row hangs; most take a second."""


@dataclass(frozen=True)
class Answer:
    """What became of one command line."""

    status: int
    text: str
    """Of both streams."""
    folder: Path
    """In which it ran."""


def forge(rows: list[list[str]], folder: Path) -> list[Answer]:
    """Run each row below ``folder``, one after the other."""
    place = folder / "forge" / "deep" / "down"
    place.mkdir(parents=True)
    answers = [_answer(row, place / str(number), folder / "cache") for number, row in enumerate(rows)]
    for above in (folder / "forge", folder / "forge" / "deep"):
        assert len(list(above.iterdir())) == 1, "a file outside of the run's folder"
    return answers


def _answer(row: list[str], folder: Path, cache: Path) -> Answer:
    folder.mkdir()
    env = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(cache)}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with warm.Popen(command(*row), cwd=folder, env=env, text=True, errors="replace", **streams) as process:
        try:
            text = process.communicate(timeout=LIMIT_SECONDS)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            text = process.communicate()[0]
    return Answer(process.returncode, text, folder)
