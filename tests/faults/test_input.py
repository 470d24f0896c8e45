"""Hostile input: one readable message, or it works; no traceback, nothing half-made, no file in a strange place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.faults.conftest import LONG, Record
from tests.faults.hostile import rows

EXPECTED = {"outputs", "multirun", "studies", "mlflow.db", "mlflow.db.lock", "mlruns"}
"""What a run that works may leave in its folder."""
LINES = 20
"""Of the longest message: Hydra's own about an override that it cannot parse, with the options."""


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
    (tmp_path / "rows.json").write_text(json.dumps(lines))
    folder = tmp_path / "forge" / "deep" / "down"
    folder.mkdir(parents=True)
    subprocess.run(
        [sys.executable, "-m", "tests.faults.forge", str(tmp_path / "rows.json"), str(folder)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")},
        check=True,
        timeout=1500,
    )
    results = json.loads((folder / "results.json").read_text())
    wrong = []
    for number, (row, (status, text)) in enumerate(zip(lines, results, strict=True)):
        left = {path.name for path in (folder / str(number)).iterdir()}
        if found := faults(row, status, text, left):
            wrong.append(f"{[short[:80] for short in row[-2:]]}: {', '.join(found)}\n{text[-700:]}")
    assert not wrong, f"{len(wrong)} of {len(lines)}:\n" + "\n".join(wrong)
    for place in (tmp_path / "forge", tmp_path / "forge" / "deep"):
        assert len(list(place.iterdir())) == 1, "a file outside of the run's folder"
    record("hostile command lines: one message or it works, nothing left behind", tried=len(lines))
