"""Repair of outboxes: records on their way into MLflow, a line each."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from rnn_sweep.commands.repair.copies import Repaired, replace
from rnn_sweep.errors import UserError
from rnn_sweep.files import claim
from rnn_sweep.tracking.outbox import check_line


def repair(path: Path) -> Repaired:
    """Drop the lines that cannot be read; ``rnn-sweep sync`` delivers the others.

    Raises:
        UserError: its run is alive, or the line that says where it is recorded is lost.
    """
    with path.open("a", encoding="utf-8") as own:
        if not claim(own):
            raise UserError(f"repair: the run of {path} is alive and writes to it")
        content = path.read_bytes()
        kept, lost = [], []
        for number, text in enumerate(content.splitlines(keepends=True), 1):
            try:
                check_line(number, json.loads(text))
            except (ValueError, KeyError, TypeError):
                text, words = _made_out(number, text)
                lost.append(f"line {number}: {words}")
            kept.append(text)
        if not lost:
            return Repaired(None)
        return Repaired(replace(path, b"".join(kept)), tuple(lost))


def _made_out(number: int, text: bytes) -> tuple[bytes, str]:
    """What takes the place of a line, and what it was.

    Raises:
        UserError: it is the first one, and does not tell where the run is recorded.
    """
    found = {key.decode(): json.loads(value) for key, value in re.findall(rb'"(\w+)"\s*:\s*("[^"\\]*")', text)}
    if number == 1:
        head: dict[str, Any] = {key: found[key] for key in ("uri", "experiment", "run_id") if key in found}
        try:
            check_line(1, head)
        except KeyError as error:
            rule = f"its first line, which says where the run is recorded, has no readable {error}"
            raise UserError(
                f'repair: {rule}; write it by hand, as {{"uri": …, "experiment": …, "run_id": …}}'
            ) from None
        return json.dumps(head).encode() + b"\n", "where the run is recorded, made out again"
    return b"", f"a record of the kind {found['kind']!r}" if "kind" in found else "a record of an unknown kind"
