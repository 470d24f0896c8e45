"""Heartbeats of sweepers that share a study, and the orphaned trials that a dead one left behind.

Each sweeper registers itself as a study attribute ``sweeper:<id>`` with its machine, process and a counter
that it raises now and then. On the same machine the process table decides; from elsewhere a sweeper is dead
when its counter has stood still for a while. No clocks are compared between machines, and while the storage is away,
so that nobody can raise a counter, time stands still.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_sweep.errors import UserError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

BEAT_SECONDS = 15.0
"""Between two beats; few, because each is a line in the journal."""
SILENCE_SECONDS = 60.0
"""A sweeper elsewhere is dead after this long without a beat."""

UNSIGNED_SECONDS = 5.0
"""The same for a trial that no sweeper has signed, where no other sweeper lives: one was killed in that moment."""

PREFIX = "sweeper:"
OWNER_ATTR = "sweeper"
"""Trial attribute: the id of the sweeper that runs it."""


class Heartbeat:
    """This sweeper's registration in a study; use it as a context."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self.id = secrets.token_hex(4)
        self._self = {"machine": machine(), "pid": os.getpid(), "start": process_start(os.getpid())}
        self._beat = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rnn-sweep-heartbeat", daemon=True)
        self._seen: dict[str, tuple[int, float, bool]] = {}
        self._writing: float | None = None
        """Since when a beat is being written."""
        self._away = 0.0
        """Seconds that beats have taken to be written."""
        self.session = 0
        """Known within the context: a number that no other sweeper on the study has. It is how many there were
        before, where all of them have ended, and any number beside live ones."""

    def __enter__(self) -> Heartbeat:
        self._write()
        registered = self._study.user_attrs
        before = sum(key.startswith(PREFIX) for key in registered) - 1
        self.session = int(self.id, 16) if self._has_company(registered) else before
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
        # Where the storage was lost, the error that ended the sweep says so.
        with suppress(UserError) if kind is not None else nullcontext():
            self._study.set_user_attr(PREFIX + self.id, {**self._self, "ended": True})

    def _run(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            with suppress(UserError):  # the storage is lost: the sweep itself will find out
                self._write()

    def _write(self) -> None:
        self._beat += 1
        began = self._writing = time.monotonic()
        try:
            self._study.set_user_attr(PREFIX + self.id, {**self._self, "beat": self._beat})
        finally:
            self._away += time.monotonic() - began
            self._writing = None

    def _clock(self) -> float:
        """Seconds that go by while the storage is there."""
        now = time.monotonic() if self._writing is None else self._writing
        return now - self._away

    def orphans(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """The RUNNING trials whose sweeper is known to be dead."""
        from optuna.trial import TrialState

        running = [t for t in trials if t.state is TrialState.RUNNING]
        if not running:
            return []
        registered = self._study.user_attrs
        return [t for t in running if self._is_orphan(t, registered)]

    def undecided(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """The RUNNING trials of which only time will tell; call :meth:`orphans` first.

        That is those of a sweeper on another machine that was not yet seen to beat, nor silent for long
        enough.
        """
        from optuna.trial import TrialState

        still = {name for name, (_, since, moved) in self._seen.items() if not moved and self._waits(since)}
        running = [t for t in trials if t.state is TrialState.RUNNING]
        return [t for t in running if {t.user_attrs.get(OWNER_ATTR), f"trial {t.number}"} & still]

    def _waits(self, since: float) -> bool:
        return self._clock() - since <= SILENCE_SECONDS

    def _is_orphan(self, trial: FrozenTrial, registered: Mapping[str, Any]) -> bool:
        owner = trial.user_attrs.get(OWNER_ATTR)
        if owner is not None:
            return owner != self.id and self._is_dead(owner, registered.get(PREFIX + owner))
        # Killed between creating the trial and signing it: nothing was suggested yet. A trial of somebody
        # else's own ``study.optimize`` has parameters, and is none of our business.
        untouched = not trial.params and not trial.intermediate_values
        patience = SILENCE_SECONDS if self._has_company(registered) else UNSIGNED_SECONDS
        return untouched and self._unchanged_for(f"trial {trial.number}", 0) > patience

    def _has_company(self, registered: Mapping[str, Any]) -> bool:
        """Whether another sweeper may be alive."""
        others = {k.removeprefix(PREFIX): v for k, v in registered.items() if k.startswith(PREFIX)}
        return any(owner != self.id and not self._is_dead(owner, entry) for owner, entry in others.items())

    def _is_dead(self, owner: str, entry: Mapping[str, Any] | None) -> bool:
        if entry is None or entry.get("ended"):
            return True
        if entry["machine"] == self._self["machine"]:
            return bool(process_start(entry["pid"]) != entry["start"])
        return self._unchanged_for(owner, entry["beat"]) > SILENCE_SECONDS

    def _unchanged_for(self, name: str, beat: int) -> float:
        """Seconds for which this process has seen the same ``beat`` of ``name``."""
        now = self._clock()
        last, since, moved = self._seen.get(name, (beat, now, False))
        if last != beat:
            since, moved = now, True
        self._seen[name] = (beat, since, moved)
        return now - since


def machine() -> str:
    """What this process's numbers mean something in: host, boot and process namespace."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    except OSError:  # no /proc: other sweepers then go by the beats alone
        parts.append(secrets.token_hex(8))
    return " ".join(parts)


def process_start(pid: int) -> int | None:
    """When process ``pid`` started, in ticks since boot; None where it is gone (a zombie, not Linux)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(rest[18])
