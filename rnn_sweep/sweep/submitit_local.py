"""Jobs of ``hydra/launcher=submitit_local``: processes of this machine that their launcher offers no way to end."""

from __future__ import annotations

import os
import signal
from contextlib import suppress


def cancel() -> None:
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
