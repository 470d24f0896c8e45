"""What every test shares: the repository, and runs of ``run.py`` as a user types them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run ``run.py`` in an empty folder; returns the finished process, output captured as text."""

    def call(
        *arguments: str, timeout: float = 240, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return call


def command(*arguments: str) -> Sequence[str]:
    """The command line of ``python run.py …``."""
    return [sys.executable, str(ROOT / "run.py"), *arguments]
