"""Going on with a study by the command that began it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rnn_sweep.errors import UserError
from rnn_sweep.quoting import assigned
from rnn_sweep.redaction import STORAGE_VARIABLE, masked
from rnn_sweep.sweep import study_metadata
from rnn_sweep.sweep.results import STUDY_KEY

if TYPE_CHECKING:
    from optuna import Study


def command(study: Study, storage: str | None, extra: Sequence[str]) -> list[str]:
    """The recorded command line with the study's name and further overrides, which win.

    Args:
        study: what to go on with.
        storage: as the user gave it, or None.
        extra: such as ``hydra.sweeper.n_trials=50``.

    Raises:
        UserError: the study records no command, or its program is not in this folder.
    """
    program, known = program_of(study), study.user_attrs[study_metadata.ATTR]
    replaced = {o.partition("=")[0].lstrip("+~") for o in extra} | {STUDY_KEY}
    if storage is not None:
        replaced.add("hydra.sweeper.storage")
    kept = [a for a in known["arguments"] if a.partition("=")[0].lstrip("+~") not in replaced]
    place = [] if storage is None else [assigned("hydra.sweeper.storage", masked(storage))]
    return [*program, *kept, *extra, assigned(STUDY_KEY, study.study_name), *place]


def program_of(study: Study) -> list[str]:
    """The program that began the study, to be run here.

    Raises:
        UserError: the study records no command, or its program is not in this folder.
    """
    known = study.user_attrs.get(study_metadata.ATTR)
    if known is None:
        raise UserError(f"study {study.study_name!r} records no command: it was not begun by hydra/sweeper=optuna")
    program = [str(part) for part in known["program"]]
    # What a storage says is not simply executed: the program must be Python, and a file that is here.
    if program == ["rnn-sweep", "train"]:
        program = ["python", "-m", "rnn_sweep", "train"]
    if program[0] != "python":
        raise UserError(f"study {study.study_name!r} was begun by {program[0]!r}; go on with: {shlex.join(program)} …")
    if program[1] != "-m" and not Path(program[1]).is_file():
        raise UserError(f"there is no {program[1]!r} here; the study was begun in '{known['folder']}'")
    return [sys.executable, *program[1:]]


def resume(study: Study, storage: str | None, extra: Sequence[str]) -> int:
    """Run the command and return its exit status. Raises :class:`UserError` as :func:`command`."""
    line = command(study, storage, extra)
    print(shlex.join(line), flush=True)
    environment = dict(os.environ)
    if storage is not None and masked(storage) != storage:
        environment[STORAGE_VARIABLE] = storage  # the password travels beside the command line
    try:
        return subprocess.run(line, env=environment, check=False).returncode  # noqa: S603 - shown, and see command()
    except KeyboardInterrupt:
        return 130  # the sweep got the signal as well, and has ended in its own way
