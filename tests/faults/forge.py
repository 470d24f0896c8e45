"""Runs ``run.py`` with many command lines: each in a process and a folder of its own, forked after the imports.

``python -m tests.faults.forge ROWS.json FOLDER`` writes ``FOLDER/results.json``: ``[status, stdout and stderr]`` for
each row. Status is the exit status, or a negative number for the signal that ended it.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import time
from pathlib import Path

RUN = Path(__file__).resolve().parents[2] / "run.py"
LIMIT_SECONDS = 60


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
