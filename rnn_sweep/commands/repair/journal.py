"""Repair of the journals of studies, where lines are damaged.

A study's trials are numbered by the order of their lines: one that is lost leaves a gap.

A line that cannot be read is dropped. Where lines after it speak of a trial that no line before them begins, it has
begun that trial: a line that does the same takes its place, and the parameters, values and end of the trial, which
lines of their own hold, are those that they were.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from rnn_sweep.commands.repair.copies import Repaired, replace
from rnn_sweep.errors import UserError
from rnn_sweep.outcome import direction as usual
from rnn_sweep.storage import quiet
from rnn_sweep.storage.journal import CREATE_STUDY, CREATE_TRIAL, Missing, Numbering, lock, said

_WORDS = (
    *("the study's name and direction", "the removal of a study", "a note on the study", "a note on the study"),
    *("the beginning of a trial", "a parameter", "the end of a trial", "a value that it reported"),
    *("a note on a trial", "a note on a trial"),
)
"""What a line holds, by its operation."""
_REPLACED = "rnn-sweep-repair"
"""Who has written a line, of those that take the place of lost ones."""
_DIRECTIONS = {"minimize": 1, "maximize": 2}


@dataclass
class _Line:
    """A line of the file that is repaired."""

    number: int
    """From 1; 0 for one that was not there at all."""
    text: bytes
    parsed: dict[str, Any] | None = None
    """None where it cannot be read."""
    reason: str = ""

    @property
    def operation(self) -> int | None:
        """The operation that can still be made out in what cannot be read."""
        found = re.search(rb'"op_code"\s*:\s*(\d+)\b', self.text)
        return int(found[1]) if found else None

    @property
    def place(self) -> str:
        return f"line {self.number}" if self.number else "a line that was not there any more"


def repair(path: Path, direction: str | None) -> Repaired:
    """Repair a journal.

    Args:
        path: the file.
        direction: of the study, ``minimize`` or ``maximize``, several separated by commas; needed where the line that
            says it is lost and nothing else tells.

    Raises:
        UserError: the direction is needed.
    """
    with lock(path):
        content = path.read_bytes()
        lines = [_read(number, text) for number, text in enumerate(content.splitlines(keepends=True), 1)]
        if lines and not lines[-1].text.endswith(b"\n"):
            lines[-1].parsed = None  # cut off when its writer was killed
        kept = _replayed(list(_filled(lines, path.stem, direction)))
        new = b"".join(line.text for line in kept)
        if new == content:
            return Repaired(None)
        return Repaired(replace(path, new), tuple(_lost(lines, kept)))


def _read(number: int, text: bytes) -> _Line:
    line = _Line(number, text)
    try:
        parsed = json.loads(text)
        Numbering().take(parsed)
        line.parsed = parsed
    except Missing:
        line.parsed = parsed
    except (ValueError, KeyError, TypeError) as error:
        line.reason = said(error)
    return line


def _filled(lines: Sequence[_Line], name: str, direction: str | None) -> list[_Line]:
    """The lines that can be read, with others in the place of those that began a study or a trial."""
    kept: list[_Line] = []
    while True:
        numbering, missing = Numbering(), None
        kept = []
        for line in lines:
            if line.parsed is None:
                continue
            try:
                numbering.take(line.parsed)
            except Missing:
                missing = line
                break
            kept.append(line)
        if missing is None:
            return kept
        gaps = [each for each in lines[: lines.index(missing)] if each.parsed is None]
        operation = CREATE_STUDY if _speaks_of_study(missing, numbering) else CREATE_TRIAL
        fitting = [gap for gap in gaps if gap.operation in (None, operation)]
        known = [gap for gap in fitting if gap.operation == operation]
        if known or fitting:
            gap = (known or fitting)[0 if operation == CREATE_STUDY else -1]
        else:
            gap = _Line(0, b"")
            lines = [*lines[: lines.index(missing)], gap, *lines[lines.index(missing) :]]
        gap.parsed = _study(lines, gap, name, direction) if operation == CREATE_STUDY else _trial(missing)
        gap.text = json.dumps(gap.parsed, separators=(",", ":")).encode() + b"\n"


def _speaks_of_study(line: _Line, numbering: Numbering) -> bool:
    return numbering.trials == 0 and "trial_id" not in (line.parsed or {})


def _trial(line: _Line) -> dict[str, Any]:
    start = (line.parsed or {}).get("datetime_start")
    return {"op_code": CREATE_TRIAL, "worker_id": _REPLACED, "study_id": 0, "datetime_start": start}


def _study(lines: Sequence[_Line], gap: _Line, name: str, direction: str | None) -> dict[str, Any]:
    found = re.search(rb'"study_name"\s*:\s*"((?:[^"\\]|\\.)*)"', gap.text)
    if found:
        name = json.loads(b'"' + found[1] + b'"')
    directions = _directions(lines, gap, direction)
    if directions is None:
        rule = "the line that says which way the study is searched cannot be read"
        raise UserError(f"repair: {rule}; give it, as --direction minimize or --direction maximize,minimize")
    return {"op_code": CREATE_STUDY, "worker_id": _REPLACED, "study_name": name, "directions": directions}


def _directions(lines: Sequence[_Line], gap: _Line, direction: str | None) -> list[int] | None:
    """As given, else as it can be made out, else as the names of the objectives tell."""
    if direction is not None:
        known = [_DIRECTIONS.get(each.strip()) for each in direction.split(",")]
        if None in known:
            raise UserError(f"--direction must be minimize or maximize, or several by commas; got {direction!r}")
        return [each for each in known if each is not None]
    found = re.search(rb'"directions"\s*:\s*\[([12](?:\s*,\s*[12])*)\]', gap.text)
    if found:
        return [int(each) for each in found[1].split(b",")]
    for line in lines:
        names = ((line.parsed or {}).get("system_attr") or {}).get("study:metric_names")
        told = [_DIRECTIONS.get(usual(str(name)) or "") for name in names or ()]
        if told and None not in told:
            return [each for each in told if each is not None]
    return None


class _Memory(BaseJournalBackend):
    """A journal in memory that knows which line was read last."""

    def __init__(self, lines: Sequence[_Line]) -> None:
        self._lines, self.last = lines, -1

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        for number in range(log_number_from, len(self._lines)):
            self.last = number
            parsed = self._lines[number].parsed
            assert parsed is not None  # noqa: S101 - others were dropped
            yield parsed

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        raise NotImplementedError


def _replayed(lines: list[_Line]) -> list[_Line]:
    """The lines without those that mean nothing to Optuna."""
    while True:
        memory = _Memory(lines)
        try:
            with quiet():
                JournalStorage(memory)
        except Exception as error:  # whatever a line makes of it
            bad = lines.pop(memory.last)
            bad.parsed, bad.reason = None, f"means nothing to Optuna ({type(error).__name__})"
        else:
            return lines


def _lost(lines: Sequence[_Line], kept: Sequence[_Line]) -> Iterator[str]:
    for line in kept:
        if (line.parsed or {}).get("worker_id") == _REPLACED:
            what = "trial" if (line.parsed or {})["op_code"] == CREATE_TRIAL else "study"
            yield f"{line.place} began a {what}; another one in its place does the same"
    for line in lines:
        if line.parsed is None:
            operation = line.operation
            words = (
                _WORDS[operation] if operation is not None and operation < len(_WORDS) else "what it said is unknown"
            )
            found = re.search(rb'"trial_id"\s*:\s*(\d+)\b', line.text)
            yield f"{line.place}: {words}{f' (trial id {int(found[1])})' if found else ''}"
    yield "a trial whose end is lost counts as running, and is tried again by the next sweep on the study"
