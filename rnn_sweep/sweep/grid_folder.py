"""What the folder of a grid has of its jobs: a grid that was cut off and is given again runs only what is missing.

A job is known by its overrides, which Hydra writes into its folder, and done where a whole ``result.json`` says that
its run has ended. What else decides a job, its configuration files, is compared, too: results of other settings are not
taken for those of the jobs that were asked for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from rnn_sweep import files
from rnn_sweep.errors import Damaged, UserError
from rnn_sweep.files import CHECKPOINT_FILE, CONFIG_FILE, OVERRIDES_FILE, RESULT_FILE, has_ended, read_result
from rnn_sweep.sweep.identity import KEY as IDENTITY
from rnn_sweep.sweep.identity import NODE, TYPED
from rnn_sweep.sweep.job_folders import KEY, MARK

log = logging.getLogger(__name__)

OWNER = "grid "
"""How the mark of a grid's folder begins; its second line is the id of the parent run."""
PATIENCE = 15.0
"""Seconds that the jobs of a grid which was killed have to end: worker processes notice its death, and end in order."""


@dataclass(frozen=True)
class Earlier:
    """What is there of a grid before it begins."""

    owner: str | None = None
    """Whose the folder is, where it is a grid's."""
    parent_run_id: str | None = None
    folders: dict[tuple[str, ...], Path] = field(default_factory=dict)
    """Of the jobs that have begun, by their overrides."""

    def done(self, overrides: Sequence[str]) -> bool:
        """Whether that job's run has ended."""
        folder = self.folders.get(own(overrides))
        try:
            return folder is not None and has_ended(folder)
        except Damaged as error:
            log.warning("%s; its job runs again", error)
            return False

    def goes_on(self, overrides: Sequence[str]) -> bool:
        """Whether that job has a checkpoint to go on from."""
        folder = self.folders.get(own(overrides))
        return folder is not None and (folder / CHECKPOINT_FILE).is_file()


def own(overrides: Sequence[str]) -> tuple[str, ...]:
    """A job's overrides in whatever order they were typed, without what the grid added: what the job is known by."""
    return tuple(sorted(str(override) for override in overrides if not str(override).startswith(TYPED)))


def begun(folder: Path) -> dict[tuple[str, ...], Path]:
    """The folders of the jobs below that of their grid, by the jobs' overrides."""
    found: dict[Path, tuple[str, ...]] = {}
    for path in folder.rglob(RESULT_FILE):  # what there is of a job where hydra.output_subdir is null
        with suppress(Damaged):
            found[path.parent] = own(read_result(path)["overrides"])
    for path in folder.rglob(f"*/{OVERRIDES_FILE}"):
        lines = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(lines, list):  # whole: its process may have been killed while it wrote
            found[path.parent.parent] = own(lines)
    return {found[where]: where for where in sorted(found)}


def look(folder: Path) -> Earlier:
    """What is there of a grid in ``folder``; nothing where it belongs to none."""
    try:
        owner, _, parent = (folder / MARK).read_text(encoding="utf-8").partition("\n")
    except (FileNotFoundError, NotADirectoryError):
        return Earlier()
    return Earlier(owner, parent or None, begun(folder)) if owner.startswith(OWNER) else Earlier()


def note_parent(folder: Path, parent_run_id: str) -> None:
    """Write down which run the jobs are children of."""
    with files.replacing(folder / MARK) as temporary:
        owner = (folder / MARK).read_text(encoding="utf-8").partition("\n")[0]
        temporary.write_text(f"{owner}\n{parent_run_id}", encoding="utf-8")


def check_same(earlier: Earlier, jobs: Sequence[Sequence[str]], numbered: bool) -> None:
    """Check that the jobs which are there are among ``jobs``, under the same numbers.

    Raises:
        UserError: they are those of another grid.
    """
    numbers = {own(job): str(number) for number, job in enumerate(jobs)}
    for overrides, where in earlier.folders.items():
        number = numbers.get(overrides)
        if number is None or (numbered and where.name.isdigit() and where.name != number):
            rule = f"{KEY} must be a folder without the jobs of another sweep, or the same grid as before"
            raise UserError(f"{rule}: '{where}' is of the job {' '.join(overrides) or 'without overrides'}")


def check_settings(earlier: Earlier, overrides: Sequence[str], cfg: DictConfig) -> None:
    """Check that a job which has begun had the configuration that it would have now.

    Raises:
        UserError: it had another one.
    """
    folder = earlier.folders.get(own(overrides))
    file = None if folder is None else next(folder.glob(f"*/{CONFIG_FILE}"), None)
    if file is None:
        return
    before = _leaves(yaml.safe_load(file.read_text(encoding="utf-8")))
    now = _leaves(yaml.safe_load(OmegaConf.to_yaml(OmegaConf.masked_copy(cfg, [str(k) for k in cfg if k != "hydra"]))))
    other = [f"{key}={before.get(key)}" for key in sorted(before.keys() | now) if before.get(key) != now.get(key)]
    if other:
        rule = f"{KEY} must be a new folder, or that of a grid with the same settings"
        raise UserError(f"{rule}: the job in '{folder}' had {', '.join(other[:5])}")


def _leaves(tree: Any, above: str = "") -> dict[str, str]:
    """The values of a configuration by their keys, but for the identity that the grid gives its jobs."""
    if not isinstance(tree, dict) or not tree:
        return {above: str(tree)}
    found: dict[str, str] = {}
    for name, value in tree.items():
        key = f"{above}.{name}" if above else str(name)
        if key not in (IDENTITY, f"{NODE}.{IDENTITY}"):
            found |= _leaves(value, key)
    return found


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the grid's folder.

    Raises:
        UserError: another process runs the grid.
    """
    with files.held(folder) as mine:
        if not mine:
            raise UserError(f"{KEY} must not be that of a grid that runs, got '{folder}'")
        yield


def wait_for_ends(earlier: Earlier) -> None:
    """Wait for jobs that have outlived the process of their grid.

    Raises:
        UserError: one does not end.
    """
    end = time.monotonic() + PATIENCE
    for folder in earlier.folders.values():
        while not _is_free(folder):
            if time.monotonic() > end:
                rule = "the jobs of a grid that was killed must have ended before it can go on"
                raise UserError(f"{rule}; the one in '{folder}' still runs: wait for it, or end it")
            time.sleep(0.1)


def _is_free(folder: Path) -> bool:
    with files.held(folder) as mine:
        return mine
