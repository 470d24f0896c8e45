"""Runs ``run.py`` with many command lines: each in a process and a folder of its own, forked after the imports.

``python -m tests.faults.forge ROWS.json FOLDER`` writes ``FOLDER/results.json``: ``[status, stdout and stderr]`` for
each row. Status is the exit status, or a negative number for the signal that ended it.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "run.py"
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


def forge(rows: list[list[str]], folder: Path, timeout: float = 280) -> list[Answer]:
    """Run each row below ``folder``, one after the other, forked from one process that has imported everything."""
    table, place = folder / "rows.json", folder / "forge" / "deep" / "down"
    table.write_text(json.dumps(rows))
    place.mkdir(parents=True)
    subprocess.run(
        [sys.executable, "-m", "tests.faults.forge", str(table), str(place)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")},
        check=True,
        timeout=timeout,
    )
    results = json.loads((place / "results.json").read_text())
    for above in (folder / "forge", folder / "forge" / "deep"):
        assert len(list(above.iterdir())) == 1, "a file outside of the run's folder"
    return [Answer(status, text, place / str(number)) for number, (status, text) in enumerate(results)]


def main(rows: list[list[str]], folder: Path) -> None:
    import rnn_sweep.sweep.sweeper
    import rnn_sweep.task
    import rnn_sweep.training  # noqa: F401 - imported here, once, for all

    results = []
    for number, row in enumerate(rows):
        own = folder / str(number)
        own.mkdir()
        pid = os.fork()
        if pid == 0:
            _child(row, own)
        results.append([_wait(pid), (folder / f"{number}.log").read_text(errors="replace")])
    (folder / "results.json").write_text(json.dumps(results))


def _child(row: list[str], folder: Path) -> None:
    status = 1
    try:
        os.chdir(folder)
        log = os.open(f"{folder}.log", os.O_CREAT | os.O_WRONLY)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = [str(RUN), *row]
        sys.path[0] = str(RUN.parent)
        runpy.run_path(str(RUN), run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait(pid: int) -> int:
    end = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -signal.SIGKILL


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
