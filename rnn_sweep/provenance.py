"""Where a run came from: the commit of the user's code, and the versions of the libraries."""

from __future__ import annotations

import getpass
import platform
import shutil
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


def code_version() -> str | None:
    """The commits and versions of the program's code and of this package; None where they do not tell what runs.

    That is so without git, and where a tracked file is changed or a Python file is not tracked. Modules of the user's
    own that lie outside of the program's repository are not looked at.
    """
    package, script = Path(rnn_sweep.__file__), _main_script()
    installed = "site-packages" in package.parts
    parts = [rnn_sweep.__version__ if installed else _committed(package)]
    if script is None:
        return None
    if script.name != "rnn-sweep" and package.parent not in script.parents:
        parts.append(_committed(script))
    if None in parts:
        return None
    return "; ".join([*map(str, parts), *(f"{key} {value}" for key, value in version_tags().items())])


def _committed(file: Path) -> str | None:
    """The commit that holds a file and, as it is, everything beside and below it that git and Python know."""
    tags = _git_tags(file.parent.resolve())
    if tags.get("git.dirty") != "false":
        return None
    command = ["git", "ls-files", "-t", "-z", "--cached", "--others", "--exclude-standard", "--", "*.py", file.name]
    answer = _answer(command, file.parent)
    lines = [] if answer is None else answer.split("\0")
    own = f"H {file.name}" in lines and not any(line.startswith("? ") for line in lines)
    return tags["mlflow.source.git.commit"] if own else None


def version_tags() -> dict[str, str]:
    """Tags ``version.<library>`` of Python, this package and :data:`LIBRARIES`, where installed."""
    tags = {"version.python": platform.python_version(), "version.rnn_sweep": rnn_sweep.__version__}
    return {**tags, **{f"version.{name}": found for name in LIBRARIES if (found := _installed(name))}}


def program() -> list[str]:
    """How this program was started, up to its arguments; ``python`` stands for the interpreter."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None and spec.name not in ("__main__", "pytest.__main__"):
        own = ["train"] if spec.name == "rnn_sweep.__main__" else []
        return ["python", "-m", spec.name.removesuffix(".__main__"), *own]
    script = Path(sys.argv[0])
    if script.suffix == ".py":
        return ["python", str(script)]
    return [script.name, *(["train"] if script.name == "rnn-sweep" else [])]


def console_script() -> str:
    """``rnn-sweep`` as a shell in this folder finds it: by its path where the environment is not active."""
    own, here = Path(sys.executable).with_name("rnn-sweep"), Path.cwd()
    if shutil.which("rnn-sweep") is not None or not own.is_file():
        return "rnn-sweep"
    return str(own.relative_to(here) if own.is_relative_to(here) else own)


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
    answer = _answer(command, folder)
    lines = [] if answer is None else answer.splitlines()
    head = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# "))
    commit = head.get("branch.oid", "(initial)")
    if commit == "(initial)":
        return {}
    return {
        "mlflow.source.git.commit": commit,
        "mlflow.source.git.branch": head.get("branch.head", "(detached)"),
        "git.dirty": str(any(not line.startswith("# ") for line in lines)).lower(),
    }


def _answer(command: list[str], folder: Path) -> str | None:
    """What git prints; None without git or a repository, or from a very slow disk."""
    try:
        return subprocess.run(  # noqa: S603 (fixed arguments)
            command, cwd=folder, capture_output=True, text=True, timeout=5, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
