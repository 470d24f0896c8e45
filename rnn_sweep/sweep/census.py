"""How a study's trials stand, at the cost of those that have changed: what has ended is read once.

A sweep shows them after each trial; among thousands, counting all would cost more than the trial's own records.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rnn_sweep.sweep.study import SURPLUS_ATTR
from rnn_sweep.trial import RETRY_ATTR

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial


class Census:
    """The counted trials of a study (see :func:`rnn_sweep.sweep.study.counted`) by state, and the best of them."""

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
        if SURPLUS_ATTR in trial.user_attrs:
            return
        self._ended[trial.state.name.lower()] += 1
        if trial.state.name == "FAIL":
            self._failed.add(trial.number)
        if trial.state.name == "COMPLETE" and all(v <= 0 for v in trial.constraints.values()):
            key = (self._sign * float(trial.values[0]), trial.number, float(trial.values[0]))
            self._best = min(key, self._best or key)
