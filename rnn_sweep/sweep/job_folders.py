"""The output folders of a sweep's jobs: no folder is written by two.

The folder of a sweep, ``hydra.sweep.dir``, belongs to one study (whose sweepers may share it: their jobs are numbered
by the study's trials) or to one grid. A file in it says to which.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from rnn_sweep import files
from rnn_sweep.errors import UserError
from rnn_sweep.quoting import quoted
from rnn_sweep.sweep.node import typed_lines

MARK = ".rnn-sweep"
"""File in a sweep's folder: the identity of the study or grid whose jobs write there."""
KEY = "hydra.sweep.dir"

Place = Callable[[Sequence[str], int], list[str]]
"""From a job's overrides and number to further overrides, which give it a folder of its own."""


def is_generated(config: DictConfig) -> bool:
    """Whether the sweep's folder is named by the clock."""
    raw: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    return "${now" in str(raw["dir"])


def choose(config: DictConfig, own: str | None, generated: bool) -> None:
    """Make sure that the sweep's folder holds no jobs but those of the study ``own`` (None: of none).

    A ``generated`` folder that is taken gets a number behind its name: two sweeps began at once.

    Raises:
        UserError: it holds others, and the user named it; or it cannot be made.
    """
    folder = Path(str(config.hydra.sweep.dir))
    if not _is_free(folder, own):
        if not generated:
            rule = f"{KEY} must be a folder without the jobs of another sweep, which would be overwritten"
            raise UserError(
                f"{rule}, got '{folder}'; take another folder, or go on with its study by hydra.sweeper.study_name"
            )
        numbered = (folder.with_name(f"{folder.name}-{n}") for n in itertools.count(2))
        move(config, next(each for each in numbered if _is_free(each, own)))
    files.check(KEY, str(config.hydra.sweep.dir))


@contextmanager
def held(config: DictConfig, own: str, generated: bool) -> Iterator[None]:
    """Take the sweep's folder for ``own``, and give it back at the end where no job has begun."""
    claim(config, own, generated)
    try:
        yield
    finally:
        release(Path(str(config.hydra.sweep.dir)), own)


def claim(config: DictConfig, own: str, generated: bool) -> None:
    """Take the sweep's folder for ``own``; of several that try at once one gets it, the others see :func:`choose`."""
    while True:
        choose(config, own, generated)
        folder = Path(str(config.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), (folder / MARK).open("x") as file:
            file.write(own)
        owner = _owner(folder)
        if owner == own:
            return
        if owner is None:  # killed while it was writing: the mark is nobody's
            (folder / MARK).unlink(missing_ok=True)


def release(folder: Path, own: str) -> None:
    """Give a folder back that was claimed for ``own``, where no job has begun."""
    if _owner(folder) == own and not _jobs(folder):
        (folder / MARK).unlink(missing_ok=True)
        with suppress(OSError):  # there is something in it
            folder.rmdir()


def move(config: DictConfig, folder: Path) -> None:
    """Let the sweep and its jobs write to another folder."""
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweep.dir = str(folder)
        lines = [line for line in typed_lines(config, "hydra") if line.partition("=")[0].lstrip("+") != KEY]
        config.hydra.overrides.hydra = [*lines, f"{KEY}={quoted(str(folder))}"]


def _is_free(folder: Path, own: str | None) -> bool:
    owner = _owner(folder)
    return not _jobs(folder) if owner is None else owner == own


def _owner(folder: Path) -> str | None:
    """Whose mark a folder has; a mark without a name is waited for, since it is being written."""
    for _ in range(100):
        try:
            owner = (folder / MARK).read_text().partition("\n")[0]
        except (FileNotFoundError, NotADirectoryError):
            return None
        if owner:
            return owner
        time.sleep(0.01)
    return None


def _jobs(folder: Path) -> list[Path]:
    """The folders of jobs: those with Hydra's own numbers, or with what Hydra writes into each."""
    if not folder.is_dir():
        return []
    return [each for each in folder.iterdir() if each.is_dir() and (each.name.isdigit() or (each / ".hydra").is_dir())]


def placer(config: DictConfig, loader: ConfigLoader) -> Place:
    """What keeps jobs apart where ``hydra.sweep.subdir`` does not name them by number.

    A folder named by a job's overrides is that of each job with these overrides: of a trial and of its next try.
    """
    if is_numbered(config):
        return lambda overrides, index: []
    given: set[Path] = set()

    def place(overrides: Sequence[str], index: int) -> list[str]:
        own = subdir(loader.load_sweep_config(config, list(overrides)), index)
        if own is None:
            return []
        folder = Path(str(config.hydra.sweep.dir)) / own
        taken = folder in given or folder.exists()
        given.add(folder)
        return [f"hydra.sweep.subdir={quoted(f'{own}-{index}')}"] if taken else []

    return place


def is_numbered(config: DictConfig) -> bool:
    """Whether ``hydra.sweep.subdir`` has the job's number in it."""
    raw: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    return any(
        name in str(raw["subdir"]) for name in ("hydra.job.num", "hydra.job.id", "hydra:job.num", "hydra:job.id")
    )


def subdir(job: DictConfig, index: int) -> str | None:
    """The folder of a composed job in that of its sweep; None where it is known only within the job."""
    with read_write(job.hydra), open_dict(job.hydra):
        job.hydra.job.num, job.hydra.job.id = index, f"job_id_for_{index}"
    try:
        return str(OmegaConf.select(job, "hydra.sweep.subdir"))
    except (OmegaConfBaseException, ValueError):
        return None
