"""Hostile input: one readable message, or it works; no traceback, nothing half-made, no file in a strange place."""

from __future__ import annotations

from pathlib import Path

from tests.faults.conftest import LONG, Record
from tests.faults.forge import forge
from tests.faults.hostile import rows

EXPECTED = {"outputs", "multirun", "studies", "mlflow.db", "mlflow.db.lock", "mlruns"}
"""What a run that works may leave in its folder."""
LINES = 30
"""Of the longest message: Hydra's own about an option that is not there, with those of ``experiment``."""


def faults(row: list[str], status: int, text: str, left: set[str]) -> list[str]:
    """What is wrong with how a command line was answered."""
    found = []
    if "Traceback" in text:
        found.append("a traceback")
    if status < 0:
        found.append(f"ended by signal {-status}")
    if "s3cret" in text:
        found.append("a password is shown")
    if status != 0 and not text.strip():
        found.append("no message")
    if status != 0 and len(text.strip().splitlines()) > LINES:
        found.append(f"{len(text.strip().splitlines())} lines of message")
    if strange := left - EXPECTED:
        found.append(f"left {strange}")
    if status != 0 and left & {"mlruns", "studies"}:
        found.append(f"refused, and left {left}")
    return found


def test_hostile_input(tmp_path: Path, record: Record) -> None:
    lines = rows() if LONG else rows()[::32]
    wrong = []
    for row, answer in zip(lines, forge(lines, tmp_path), strict=True):
        left = {path.name for path in answer.folder.iterdir()}
        if found := faults(row, answer.status, answer.text, left):
            wrong.append(f"{[short[:80] for short in row[-2:]]}: {', '.join(found)}\n{answer.text[-700:]}")
    assert not wrong, f"{len(wrong)} of {len(lines)}:\n" + "\n".join(wrong)
    record("hostile command lines: one message or it works, nothing left behind", tried=len(lines))
