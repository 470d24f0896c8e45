"""Trials that dead sweepers left in the study: found now and then, and waited for at the end of a sweep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rnn_sweep.sweep import study as studies
from rnn_sweep.sweep.heartbeat import Heartbeat

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

LOOK_SECONDS = 15.0
"""Between two looks."""


class Orphans:
    """What a sweeper does for those of others.

    Args:
        study: whose trials are looked at.
        heartbeat: knows which sweepers live.
        say: tells the user a line.
    """

    def __init__(self, study: Study, heartbeat: Heartbeat, say: Callable[[str], None]) -> None:
        self._study, self._heartbeat, self._say = study, heartbeat, say
        self._looked = -1e9
        self._doubts = False

    def are_due(self) -> bool:
        """Whether it is time for a look."""
        return time.monotonic() - self._looked >= LOOK_SECONDS

    def adopt(self) -> int:
        """Fail the trials of dead sweepers; returns how many there were."""
        self._looked = time.monotonic()
        found = [t for t in self._heartbeat.orphans(self._trials()) if studies.adopt(self._study, t)]
        for trial in found:
            self._say(f"trial {trial.number} was left by a sweeper that died")
        return len(found)

    def wait(self) -> bool:
        """Before the end, see whether sweepers elsewhere live whose trials would be left; False if known."""
        doubtful = self._heartbeat.undecided(self._trials())
        if not doubtful:
            return False
        if not self._doubts:
            numbers = ", ".join(str(t.number) for t in doubtful)
            self._say(f"waiting up to a minute to see whether trial {numbers} still has a sweeper")
        self._doubts = True
        self._looked = -1e9
        time.sleep(1.0)
        return True

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)
