"""The application of a user's own, started as a user does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import warm

SCRIPT = Path(__file__).parents[1] / "apps" / "own" / "train.py"
OFF = "tracking.enabled=false"

Own = Callable[..., "subprocess.CompletedProcess[str]"]


def line(*arguments: str, script: Path = SCRIPT) -> list[str]:
    return [sys.executable, str(script), *arguments]


@pytest.fixture
def own(tmp_path: Path, empty_store: Path) -> Own:
    """Run the application beside MLflow's empty database, and check how it ends."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")

    def call(*arguments: str, status: int = 0, script: Path = SCRIPT) -> subprocess.CompletedProcess[str]:
        command = line(*arguments, script=script)
        done = warm.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == status, f"{done.stdout}\n{done.stderr}"
        return done

    return call


def result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def interrupted(folder: Path, *arguments: str, after: str) -> tuple[int, str]:
    """Start the application, interrupt it once it has said ``after``, and wait for its end."""
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with warm.Popen(line(*arguments), cwd=folder, env=environment, **streams) as process:
        said = ""
        assert process.stdout is not None
        for text in process.stdout:
            said += text
            if after in text:
                process.send_signal(signal.SIGINT)
                after = "\0"
        return process.wait(60), said
