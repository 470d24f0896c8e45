"""Jobs of submitit's launchers: a check for Slurm before there is a study, and a way to end jobs, which they lack."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from rnn_sweep.errors import UserError

ANSWER_SECONDS = 8.0
_NEEDED = ("sbatch", "srun", "scontrol", "sacct")


def check_slurm(params: Mapping[str, Any]) -> None:
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


def cancel_slurm() -> None:
    """Cancel the jobs that this process has submitted and that have not ended, which submitit does not offer."""
    from submitit.slurm.slurm import SlurmJob

    jobs = sorted(SlurmJob.watcher._registered - SlurmJob.watcher._finished)
    if jobs:
        subprocess.run(["scancel", *jobs], capture_output=True, timeout=ANSWER_SECONDS, check=False)  # noqa: S603, S607


def cancel_local() -> None:
    """End the jobs that this process has submitted and that have not ended, as submitit does it.

    Each gets the signal of Ctrl-C, and SIGKILL a second later.
    """
    from submitit.local.local import LocalJob

    if not hasattr(os, "waitid"):  # Windows, macOS
        return
    for pid in [int(job) for job in LocalJob.watcher._registered if job.isdigit()]:
        with suppress(ChildProcessError):  # it has ended, and the number may be another process's by now
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                os.kill(pid, signal.SIGINT)
