"""The best trials of a study trained further, as new runs that say which ones they go on from."""

from __future__ import annotations

import datetime
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rnn_sweep import checkpoint
from rnn_sweep.commands.resume import program_of
from rnn_sweep.errors import UserError
from rnn_sweep.quoting import assigned
from rnn_sweep.run.further import RESUME_KEY, prepare
from rnn_sweep.sweep.results import ranked

if TYPE_CHECKING:
    from optuna import Study

_EXAMPLE = "such as `rnn-sweep extend STUDY --top 3 trainer.epochs=30`"


def commands(study: Study, top: int, overrides: Sequence[str]) -> list[list[str]]:
    """A command line for each of the best trials.

    Raises:
        UserError: there is none, one does not say where its checkpoint is, or the study's program is not here.
    """
    if not overrides:
        raise UserError(f"extend --top needs what is to change, {_EXAMPLE}")
    best = ranked(study)[:top]
    if not best:
        raise UserError(f"study {study.study_name!r} has no complete trial to train further")
    without = [trial.number for trial in best if "folder" not in trial.user_attrs]
    if without:
        rule = "a trial of several seeds, or of a program that is not rnn_sweep's, cannot be trained further"
        raise UserError(f"trial {without[0]} does not say where its checkpoint is: {rule}")
    program = program_of(study)
    return [_line(program, Path(str(trial.user_attrs["folder"])), overrides) for trial in best]


def _line(program: Sequence[str], folder: Path, overrides: Sequence[str]) -> list[str]:
    """The command that trains the run in ``folder`` further; one that has no setting for that gets a folder made."""
    state = checkpoint.load(folder, "extend --top")
    if state.get(RESUME_KEY) is not None:
        return [*program, assigned(state[RESUME_KEY], str(folder)), *overrides]
    new = Path("outputs") / f"{datetime.datetime.now():%Y-%m-%d/%H-%M-%S-%f}"
    keys = [line.lstrip("+").partition("=")[0] for line in overrides]
    before = [line for line in state["overrides"] if line.lstrip("+").partition("=")[0] not in keys]
    prepare(new, state, keys)
    return [*program, *before, *overrides, assigned("hydra.run.dir", str(new))]


def extend(study: Study, top: int, overrides: Sequence[str]) -> int:
    """Run them one after another; the first exit status that is not 0 ends that. Raises as :func:`commands`."""
    for line in commands(study, top, overrides):
        print(shlex.join(line), flush=True)
        try:
            status = subprocess.run(line, check=False).returncode  # noqa: S603 - shown, and see program_of()
        except KeyboardInterrupt:
            return 130
        if status:
            return status
    return 0
