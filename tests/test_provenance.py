"""Which code runs, and when nobody can say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rnn_sweep import provenance


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A program that is committed, and nothing else in its repository."""
    path = tmp_path / "project" / "train.py"
    path.parent.mkdir()
    path.write_text("x = 1\n")
    git(path, "init", "-q")
    git(path, "add", ".")
    git(path, "commit", "-q", "-m", "first")
    return path


def git(script: Path, *words: str) -> str:
    own = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *own, *words], cwd=script.parent, check=True, capture_output=True, text=True
    ).stdout.strip()


def committed(script: Path) -> str | None:
    provenance._git_tags.cache_clear()
    return provenance._committed(script)


def test_committed_code_has_the_version_of_its_commit(script: Path) -> None:
    assert committed(script) == git(script, "rev-parse", "HEAD")
    (script.parent / "notes.txt").write_text("not code")
    assert committed(script) == git(script, "rev-parse", "HEAD")


def test_a_change_or_a_file_that_is_not_tracked_leaves_it_unknown(script: Path) -> None:
    (script.parent / "more.py").write_text("y = 1\n")
    assert committed(script) is None
    assert committed(script.parent / "more.py") is None
    git(script, "add", ".")
    git(script, "commit", "-q", "-m", "second")
    assert committed(script) is not None
    script.write_text("x = 2\n")
    assert committed(script) is None


def test_an_ignored_program_and_one_outside_of_a_repository(script: Path, tmp_path: Path) -> None:
    (script.parent / ".gitignore").write_text("own.py\n")
    (script.parent / "own.py").write_text("z = 1\n")
    assert committed(script.parent / "own.py") is None
    (tmp_path / "alone.py").write_text("z = 1\n")
    assert committed(tmp_path / "alone.py") is None


def test_the_command_is_printed_as_the_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / ".venv" / "bin" / "rnn-sweep"
    own.parent.mkdir(parents=True)
    own.touch(mode=0o755)
    monkeypatch.setattr("sys.executable", str(own.with_name("python")))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    assert provenance.console_script() == ".venv/bin/rnn-sweep", "the environment is not active"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert provenance.console_script() == str(own)
    monkeypatch.setenv("PATH", str(own.parent))
    assert provenance.console_script() == "rnn-sweep"
    own.unlink()
    assert provenance.console_script() == "rnn-sweep"
