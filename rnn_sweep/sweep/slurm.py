"""Whether there is a Slurm that a launcher could use, asked before there is a study."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from rnn_sweep.errors import UserError

ANSWER_SECONDS = 8.0
_NEEDED = ("sbatch", "srun", "scontrol", "sacct")


def check(params: Mapping[str, Any]) -> None:
    """See whether Slurm's controller answers, and whether its accounting does, without which cancelled jobs hang.

    Args:
        params: the keys of ``hydra.launcher``.

    Raises:
        UserError: a command is missing, the controller or the accounting does not answer in time, or jobs would be
            told to stop as soon as they begin.
    """
    minutes, delay = params.get("timeout_min"), params.get("signal_delay_s")
    if minutes is not None and delay is not None and minutes * 60 <= delay:
        rule = f"must be longer than hydra.launcher.signal_delay_s, {delay} s, at which jobs are told that time is up"
        raise UserError(f"hydra.launcher.timeout_min {rule}; got {minutes}")
    for name in _NEEDED:
        if shutil.which(name) is None:
            raise UserError(f"hydra/launcher=submitit_slurm needs Slurm's command {name}, which is not on this machine")
    _ask("scontrol", "ping")
    # submitit learns from the accounting that a job was cancelled or lost its node, and else waits for ever.
    _ask("sacct", "--noheader", "--allocations", "--starttime=now")


def _ask(*words: str) -> None:
    what = f"hydra/launcher=submitit_slurm: `{' '.join(words)}`"
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise UserError(f"{what} gave no answer within {ANSWER_SECONDS:.0f} s") from None
    if done.returncode != 0:
        reason = " ".join((done.stderr or done.stdout).split())[:300]
        raise UserError(f"{what} failed: {reason}")


def cancel() -> None:
    """Cancel the jobs that this process has submitted and that have not ended, which submitit does not offer."""
    from submitit.slurm.slurm import SlurmJob

    jobs = sorted(SlurmJob.watcher._registered - SlurmJob.watcher._finished)
    if jobs:
        subprocess.run(["scancel", *jobs], capture_output=True, timeout=ANSWER_SECONDS, check=False)  # noqa: S603, S607
