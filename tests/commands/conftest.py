"""The command, run in the folder of a sweep."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from rnn_sweep import cli


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit status."""

    out: str
    err: str
    status: int


Command = Callable[..., Answer]


@pytest.fixture
def rnn_sweep(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Call ``rnn-sweep …`` in ``folder``, in this process."""

    def call(folder: Path, *arguments: str) -> Answer:
        monkeypatch.chdir(folder)
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr("sys.argv", ["rnn-sweep", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return Answer(out, err, int(end.value.code or 0))

    return call


@pytest.fixture
def copied(swept: Path, tmp_path: Path) -> Path:
    """A copy of the sweep's study, to be changed."""
    shutil.copytree(swept / "studies", tmp_path / "studies")
    return tmp_path
