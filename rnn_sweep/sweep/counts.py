"""Counts of a study: trials by state, epochs that pruning saved, and live counts that read each ended trial once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnn_sweep.sweep.constraints import feasible
from rnn_sweep.sweep.study import REUSED_ATTR, SURPLUS_ATTR, counted
from rnn_sweep.trial import CONFIRM_ATTR, RETRY_ATTR, STEPS_ATTR

if TYPE_CHECKING:
    from optuna import Study
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


def count_states(trials: Sequence[FrozenTrial]) -> dict[str, int]:
    """How many are in each state, zeros left out; those that were tried again do not count, the waiting ones do."""
    waiting = [t for t in trials if state_of(t) == "waiting" and CONFIRM_ATTR not in t.user_attrs]
    found = Counter(state_of(t) for t in [*counted(trials), *waiting])
    return {state: found[state] for state in STATES if found[state]}


def epochs_of(trial: FrozenTrial) -> int:
    """The epochs that a trial reported; of one with replicates those of each."""
    each = [len(steps) for key, steps in trial.user_attrs.items() if key.startswith(STEPS_ATTR)]
    return sum(each) or len(trial.intermediate_values)


def count_epochs(trials: Sequence[FrozenTrial]) -> Epochs | None:
    """The epochs of all trials that ran; None where nothing was reported or no trial is complete."""
    ran = (t for t in counted(trials) if REUSED_ATTR not in t.user_attrs)
    lengths = [(state_of(t), epochs_of(t)) for t in ran]
    whole = max((n for state, n in lengths if state == "complete"), default=0)
    if not whole:
        return None
    saved = sum(max(0, whole - n) for state, n in lengths if state == "pruned")
    return Epochs(trained=sum(n for _, n in lengths), saved=saved, whole=whole)


class LiveCounts:
    """The counted trials of a study (see :func:`rnn_sweep.sweep.study.counted`) by state, and the best of them.

    A sweep shows them after each trial. What has ended is read once: among thousands of trials, counting all of them
    anew would cost more than the trial's own records.
    """

    def __init__(self, study: Study) -> None:
        from optuna.study import StudyDirection

        self._study = study
        self._sign = -1.0 if study.directions[0] is StudyDirection.MAXIMIZE else 1.0
        self._numbered = True
        """Whether each trial's place was its number; a store that others write to may show one late."""
        self._forget()

    def _forget(self) -> None:
        self._seen = 0
        self._open: list[int] = []
        """Places of trials that had not ended."""
        self._ended: Counter[str] = Counter()
        self._again: set[int] = set()
        """Numbers of the trials that were tried again."""
        self._failed: set[int] = set()
        self._best: tuple[float, int, float] | None = None
        self._names: frozenset[str] = frozenset()
        """Constraints that some complete trial was measured by."""

    def states(self) -> dict[str, int]:
        """How many are complete, pruned, fail and running now."""
        running, ended = self._look(), self._ended
        failed = len(self._failed - self._again)
        return {"complete": ended["complete"], "pruned": ended["pruned"], "fail": failed, "running": running}

    def best(self) -> tuple[int, float] | None:
        """Number and value of the best complete trial that meets all constraints; of one objective, as last counted."""
        return None if self._best is None else self._best[1:]

    def _look(self) -> int:
        """Read what is new; returns how many are running."""
        trials = self._study.get_trials(deepcopy=False)
        numbered = not trials or trials[-1].number == len(trials) - 1
        if not (numbered and self._numbered):
            self._forget()
        self._numbered = numbered
        still, running = [], 0
        for place in [*self._open, *range(self._seen, len(trials))]:
            trial = trials[place]
            if RETRY_ATTR in trial.user_attrs:
                self._again.add(trial.user_attrs[RETRY_ATTR])
            if trial.state.is_finished():
                self._end(trial)
            else:
                still.append(place)
                running += trial.state.name == "RUNNING" and SURPLUS_ATTR not in trial.user_attrs
        self._open, self._seen = still, len(trials)
        return running

    def _end(self, trial: FrozenTrial) -> None:
        if SURPLUS_ATTR in trial.user_attrs or CONFIRM_ATTR in trial.user_attrs:
            return
        self._ended[trial.state.name.lower()] += 1
        if trial.state.name == "FAIL":
            self._failed.add(trial.number)
        if trial.state.name != "COMPLETE":
            return
        if not trial.constraints.keys() <= self._names:
            self._names |= trial.constraints.keys()
            self._best = None  # no trial before has a value for it
        if feasible(trial, self._names):
            key = (self._sign * float(trial.values[0]), trial.number, float(trial.values[0]))
            self._best = min(key, self._best or key)
