"""Where a run came from: the commit of the user's code, and the versions of the libraries."""

from __future__ import annotations

import getpass
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import rnn_sweep

LIBRARIES = ("torch", "hydra-core", "optuna", "mlflow", "numpy")


def source_tags(script: Path | None) -> dict[str, str]:
    """Tags that say which code ran, under the names that MLflow's UI knows.

    Args:
        script: the user's script; None is the script of this process.
    """
    path = script or _main_script()
    tags = {
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": str(path or "python"),
        "mlflow.user": _user(),
    }
    folder = path.parent if path else Path.cwd()
    return {**tags, **_git_tags(folder.resolve())}


def version_tags() -> dict[str, str]:
    """Tags ``version.<library>`` of Python, this package and :data:`LIBRARIES`, where installed."""
    tags = {"version.python": platform.python_version(), "version.rnn_sweep": rnn_sweep.__version__}
    return {**tags, **{f"version.{name}": found for name in LIBRARIES if (found := _installed(name))}}


def pinned(*names: str) -> list[str]:
    """Requirement lines such as ``torch==2.14.1``, without local labels (``+cpu``)."""
    return [f"{name}=={found.partition('+')[0]}" for name in names if (found := _installed(name))]


@cache
def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _main_script() -> Path | None:
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(path).absolute() if path else None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a numeric user of a container, without a name
        return "unknown"


@cache  # once per process: the code that runs is the code that was imported, whatever is committed later
def _git_tags(folder: Path) -> dict[str, str]:
    """One call of git answers commit, branch and whether tracked files were changed."""
    command = ["git", "--no-optional-locks", "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        answer = subprocess.run(  # noqa: S603 (fixed arguments)
            command, cwd=folder, capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):  # no git, no repository, or a very slow disk
        return {}
    lines = answer.stdout.splitlines()
    head = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# "))
    commit = head.get("branch.oid", "(initial)")
    if commit == "(initial)":
        return {}
    return {
        "mlflow.source.git.commit": commit,
        "mlflow.source.git.branch": head.get("branch.head", "(detached)"),
        "git.dirty": str(any(not line.startswith("# ") for line in lines)).lower(),
    }
