"""A terminal for tests: what a program wrote, as a person sees it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import pexpect

_PARTS = re.compile(r"\x1b\[\??([\d;]*)([A-Za-z])|[\r\n]|[^\x1b\r\n]")


def typed(line: Sequence[str], folder: Path, width: int, **environment: str) -> tuple[int, str]:
    """Run a command in a terminal of that width; returns its exit status and all that it wrote."""
    there = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    process = pexpect.spawn(
        line[0],
        list(line[1:]),
        cwd=str(folder),
        dimensions=(40, width),
        encoding="utf-8",
        timeout=240,
        env={**there, "TERM": "xterm", **environment},
    )
    written = process.read()
    process.close()
    return process.exitstatus or 0, written


def screen(written: str, width: int) -> list[str]:
    """The lines that stand in a terminal of that width at the end, those that have scrolled out of it as well."""
    lines, row, column = [""], 0, 0
    for part in _PARTS.finditer(written):
        text, (argument, command) = part[0], (part[1], part[2])
        if text == "\r":
            column = 0
        elif text == "\n" or (command is None and column >= width):
            row, column = row + 1, 0 if text != "\n" else column
            lines += [""] * (row >= len(lines))
        elif command == "A":
            row = max(0, row - int(argument or 1))
        elif command == "K":
            lines[row] = "" if argument == "2" else lines[row][:column]
        if command is None and text not in "\r\n":
            lines[row] = lines[row].ljust(column)[:column] + text + lines[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines]
