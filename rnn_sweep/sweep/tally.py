"""Trials counted: how they ended, and what pruning saved. Pure."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnn_sweep.sweep.study import counted

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

STATES = ("complete", "pruned", "diverged", "failed", "running", "waiting")


@dataclass(frozen=True)
class Epochs:
    """Reported steps, which are epochs here: what pruning is measured in."""

    trained: int
    saved: int
    """Those that pruned trials would have gone on for, had they run as long as the longest complete one."""
    whole: int
    """Those of the longest complete trial."""

    @property
    def part(self) -> float:
        """Saved epochs as a part of all that would have been trained, in [0, 1]."""
        return self.saved / (self.saved + self.trained) if self.saved else 0.0


def state_of(trial: FrozenTrial) -> str:
    """A trial's state, one of :data:`STATES`: a pruned one is ``diverged`` where its job said so."""
    if trial.state.name == "PRUNED" and trial.user_attrs.get("state") == "diverged":
        return "diverged"
    return {"FAIL": "failed"}.get(trial.state.name, trial.state.name.lower())


def counts(trials: Sequence[FrozenTrial]) -> dict[str, int]:
    """How many are in each state, zeros left out; those that were tried again do not count, the waiting ones do."""
    waiting = [t for t in trials if state_of(t) == "waiting"]
    found = collections.Counter(state_of(t) for t in [*counted(trials), *waiting])
    return {state: found[state] for state in STATES if found[state]}


def epochs(trials: Sequence[FrozenTrial]) -> Epochs | None:
    """The epochs of all trials; None where nothing was reported or no trial is complete."""
    lengths = [(state_of(t), len(t.intermediate_values)) for t in counted(trials)]
    whole = max((n for state, n in lengths if state == "complete"), default=0)
    if not whole:
        return None
    saved = sum(max(0, whole - n) for state, n in lengths if state == "pruned")
    return Epochs(trained=sum(n for _, n in lengths), saved=saved, whole=whole)
