"""The long form, ``python -m tests.faults [TIMES]``: file by file, each so often, and at the end the table of the page.

Files that have passed so often are not run again while the product stays as it is, so that a run that was stopped can
be gone on with. A file that fails ends it, loses its rows, and begins again at its first time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.faults.conftest import LEDGER
from tests.faults.ledger import PAGE, ROOT, Ledger

FILES = sorted(path.name for path in Path(__file__).parent.glob("test_*.py"))


def passes(file: str, notes: Path) -> bool:
    """Run a file once, as a process of its own."""
    line = [sys.executable, "-m", "pytest", "-x", f"tests/faults/{file}"]
    env = {**os.environ, "FAULTS": "long", "COLD": "1", LEDGER: str(notes)}
    return subprocess.run(line, cwd=ROOT, env=env).returncode == 0


def main(times: int) -> int:
    ledger = Ledger(ROOT / ".faults")
    try:
        for _ in range(times):
            for file in [each for each in FILES if ledger.passed(each) < times]:
                with tempfile.TemporaryDirectory() as folder:
                    notes = Path(folder) / "notes.jsonl"
                    if not passes(file, notes):
                        ledger.drop(file)
                        return 1
                    ledger.add(file, notes)
    finally:
        ledger.write(FILES)
        print(f"what has passed: {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1))
