"""Is everything there that a sweep needs?"""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import rnn_sweep
from rnn_sweep.errors import UserError

LIBRARIES = ("torch", "torchvision", "hydra-core", "omegaconf", "optuna", "mlflow", "numpy")
EXTRAS = ("optuna-dashboard", "cmaes", "ray", "submitit")


@dataclass(frozen=True)
class Finding:
    """One line."""

    name: str
    text: str
    good: bool | None = True
    """None for what is only told; False ends the command with status 1."""


def examine(uri: str) -> list[Finding]:
    """Look at versions, the tracking store, the data cache and the studies. Creates and changes nothing.

    Args:
        uri: MLflow's tracking store, as ``tracking.uri``.
    """
    here = Path.cwd()
    return [
        Finding("rnn-sweep", f"{rnn_sweep.__version__}, Python {platform.python_version()}, {os.cpu_count()} CPUs"),
        *(Finding(name, found or "missing", found is not None) for name in LIBRARIES for found in [_version(name)]),
        *(Finding(name, found, None) for name in EXTRAS if (found := _version(name))),
        _native(),
        _guarded("tracking store", lambda: _store(uri)),
        *_data(),
        Finding("folder", "can be written" if os.access(here, os.W_OK) else f"'{here}' cannot be written", None),
        _studies(),
        Finding("UI", _ui(uri), None),
    ]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _native() -> Finding:
    from rnn_sweep.engines.native import library

    def look() -> str:
        found = library.load()
        return f"{found.target}, compiled by {library.compiler(found)}"

    try:
        return _guarded("native engine", look)
    except library.NativeUnavailable as error:
        return Finding("native engine", f"{error}; the torch engine trains, slower", None)


def _guarded(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name, look())
    except UserError as error:
        return Finding(name, str(error), good=False)


def _store(uri: str) -> str:
    from rnn_sweep.redaction import mask
    from rnn_sweep.tracking.reading import open_existing
    from rnn_sweep.tracking.sqlite import absolute

    if uri.startswith("sqlite") and not absolute(uri)[1].exists():
        return f"{mask(uri)}: not there yet; the first run creates it"
    open_existing(uri)
    return f"{mask(uri)} answers"


def _data() -> list[Finding]:
    from rnn_sweep.data import FAMILIES
    from rnn_sweep.data.store import IdxFamily, cache_folder

    findings = []
    for name, family in FAMILIES.items():
        if not isinstance(family, IdxFamily):
            continue  # nothing of it is cached
        folder = cache_folder(None) / family.folder
        whole = all((folder / f.name).is_file() and (folder / f.name).stat().st_size == f.size for f in family.files)
        text = f"cached in {folder}" if whole else f"not cached in {folder}; the first run fetches it"
        findings.append(Finding(f"data {name}", text, None))
    return findings


def _studies() -> Finding:
    from rnn_sweep.commands.studies import names

    found = names()
    text = f"{len(found)} in studies/, the latest {found[0]}" if found else "none in studies/ yet"
    return Finding("studies", text, None)


def _ui(uri: str) -> str:
    from rnn_sweep.redaction import mask

    usual = uri == os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    return "rnn-sweep ui" if usual else f"rnn-sweep ui --tracking-uri {shlex.quote(mask(uri))}"
