"""The loop: ask, submit, tell the first that is done. A slot that frees gets the next trial at once."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Protocol

from rnn_sweep.deadline import Overdue
from rnn_sweep.storage import at_once, masked, quiet
from rnn_sweep.sweep import study as studies
from rnn_sweep.sweep.constraints import Constraint
from rnn_sweep.sweep.pool import Pool
from rnn_sweep.sweep.presence import OWNER_ATTR, Presence
from rnn_sweep.sweep.replicates import SEED, Jobs, judge_all, merged, notes, together
from rnn_sweep.sweep.settings import Settings
from rnn_sweep.sweep.space import quoted
from rnn_sweep.sweep.stop import Stop
from rnn_sweep.sweep.suggest import Suggester
from rnn_sweep.sweep.verdict import End, Verdict
from rnn_sweep.trial import RETRY_ATTR, STOP_ATTR

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial, TrialState

LOOK_SECONDS = 15.0
"""Between two looks for trials that a dead sweeper left."""
JOBLESS = frozenset({"worker_died", "interrupted"})
"""Kinds of failure in which the job may not have come to its own end."""
HEED_SECONDS = 0.5
"""Between two looks for Ctrl-C while trials run."""


class Reason(str, Enum):
    """Why the loop ended."""

    DONE = "all trials are done"
    EXHAUSTED = "every point of the space was tried"
    TIMEOUT = "the time is up"
    INTERRUPTED = "interrupted"
    FAILURES = "too many trials failed"


class View(Protocol):
    """What is shown meanwhile."""

    def started(self, trial: Trial, overrides: list[str]) -> None:
        """A trial was submitted."""

    def ended(self, number: int, verdict: Verdict, seconds: float) -> None:
        """A trial was told."""

    def say(self, text: str) -> None:
        """Something that the user should know."""


@dataclass(frozen=True)
class Running:
    """A trial in flight."""

    trial: Trial
    overrides: list[str]
    since: float


@dataclass
class Loop:
    """One sweeper's work on a study."""

    study: Study
    url: str
    settings: Settings
    suggester: Suggester
    constraints: list[Constraint]
    pool: Pool
    presence: Presence
    stop: Stop
    view: View
    identity: bool
    """Whether the application declares ``trial``."""
    parent_run_id: str | None = None
    settle: Callable[[], None] = lambda: None
    """Called when a trial has ended without its job's doing: closes what the job left open."""
    heeds: bool = False
    """Whether jobs ask :attr:`rnn_sweep.trial.Reporter.stopping` now and then."""
    seeds: list[int] = field(default_factory=list)
    """Of a trial's replicates; empty where a trial is one job."""
    running: dict[Future[Jobs], Running] = field(default_factory=dict)
    reason: Reason | None = None
    failure: Verdict | None = None
    """The latest failed trial."""
    _recent: list[bool] = field(default_factory=list)
    _seconds: deque[float] = field(default_factory=lambda: deque(maxlen=100))
    _looked: float = -1e9
    _doubts: bool = False
    _start: float = field(default_factory=time.monotonic)

    def run(self) -> Reason:
        """Work until the budget, the time, the space or the user's patience is used up."""
        while True:
            self._heed_signals()
            self._look_for_orphans()
            while self.reason is None and len(self.running) < self._most() and self._start_one():
                self._heed_signals()
            if self.running:
                self._collect()
            elif self.reason is not None or not self._wait_for_verdict():
                return self.reason or Reason.DONE

    def _heed_signals(self) -> None:
        """After the first Ctrl-C let the running trials end, early where they can; a second one gives them up."""
        if self.stop.count and self.reason is None:
            self.reason = Reason.INTERRUPTED
            if self.running:
                when = "the current epoch of" if self.heeds else "the end of"
                self.view.say(f"stopping after {when} {len(self.running)} running trial(s); Ctrl-C again stops at once")
            for running in self.running.values():
                self._ask_to_end(running.trial)
        if self.stop.count > 1 and self.running:
            self._give_up()

    def _ask_to_end(self, trial: Trial) -> None:
        if self.heeds:
            trial.set_user_attr(STOP_ATTR, True)

    def _start_one(self) -> bool:
        """Ask for a trial and submit it; False when nothing is to be started now."""
        if self._time_is_up():
            return False
        trial = self._ask()
        if trial is None:
            return False
        with at_once(self.study._storage), quiet():
            overrides = self.suggester.overrides(trial)
            trial.set_user_attr("overrides", overrides)
        self.view.started(trial, overrides)
        running = Running(trial, overrides, time.monotonic())
        try:
            with self.stop.raising(partial(self._ask_to_end, trial) if self.heeds else None):
                future = self._submit(trial, overrides)
        except KeyboardInterrupt:
            self._tell(running, Verdict(End.FAIL, kind="interrupted", cause="interrupted"))
            return False
        self.running[future] = running
        return True

    def _ask(self) -> Trial | None:
        """A new trial, signed; None where the budget is used up."""
        with studies.ask_lock(self.url):
            trials, budget = self._trials(), self.settings.n_trials
            if len(trials) >= budget and len(studies.counted(trials)) >= budget:  # most of the time there are too few
                return None
            with quiet():
                trial = self.study.ask()
            with at_once(self.study._storage):
                trial.set_user_attr(OWNER_ATTR, self.presence.id)
        if not self._is_surplus(trial):
            return trial
        trial.set_user_attr(studies.SURPLUS_ATTR, True)
        self.study.tell(trial, state=_state(End.FAIL))
        return None

    def _most(self) -> int:
        """Trials in flight."""
        return max(1, self.pool.slots // max(1, len(self.seeds)))

    def _submit(self, trial: Trial, overrides: list[str]) -> Future[Jobs]:
        jobs, count = [], len(self.seeds)
        for replicate in range(max(1, count)):
            seed = [f"{SEED}={self.seeds[replicate]}"] if count else []
            identity = self._identity_override(trial, f",replicate:{replicate},replicates:{count}" if count else "")
            index = trial.number * max(1, count) + replicate
            jobs.append(self.pool.submit([*overrides, *seed, *identity], index))
        return together(jobs)

    def _is_surplus(self, trial: Trial) -> bool:
        """Whether another sweeper used the budget up at the same moment (stores without a common lock)."""
        if trial.number < self.settings.n_trials:
            return False
        before = [t for t in studies.counted(self._trials()) if t.number < trial.number]
        return len(before) >= self.settings.n_trials

    def _identity_override(self, trial: Trial, more: str) -> list[str]:
        if not self.identity:
            return []
        parent = "null" if self.parent_run_id is None else quoted(self.parent_run_id)
        name, storage = quoted(self.study.study_name), quoted(masked(self.url))
        again = trial.user_attrs.get(RETRY_ATTR)
        retry = "" if again is None else f",retry_of:{again}"
        return [
            f"trial={{study_name:{name},storage:{storage},number:{trial.number},parent_run_id:{parent}{retry}{more}}}"
        ]

    def _collect(self) -> None:
        """Wait for the first trial to end (for the oldest one with ``deterministic``) and tell it."""
        waiting = list(self.running)[:1] if self.settings.deterministic else list(self.running)
        left = self._deadline() - time.monotonic()
        done, _ = wait(waiting, timeout=max(0.0, min(HEED_SECONDS, left)), return_when=FIRST_COMPLETED)
        for future in [f for f in waiting if f in done]:
            running = self.running.pop(future)
            verdicts = judge_all(future.result(), len(self.study.directions))
            for key, value in notes(self.seeds, verdicts).items():
                running.trial.set_user_attr(key, value)
            self._tell(running, merged(verdicts))
        if self.running and time.monotonic() >= self._deadline() and self.reason is None:
            self.reason = Reason.TIMEOUT
            self._give_up()

    def _tell(self, running: Running, verdict: Verdict) -> None:
        """Record how a trial ended, and enqueue it again where its cause allows that."""
        trial, seconds = running.trial, time.monotonic() - running.since
        verdict = self._fit(verdict)
        self._finish(trial, verdict)
        self._note(verdict, seconds)
        self.view.ended(trial.number, verdict, seconds)
        if verdict.end is End.FAIL:
            self._requeue()
        if verdict.kind in JOBLESS or isinstance(verdict.error, Overdue):
            self.settle()

    def _requeue(self) -> None:
        for number in studies.requeue(self.study, self.url, self.settings.retries):
            self.view.say(f"trial {number} will be tried again with the same parameters")

    def _fit(self, verdict: Verdict) -> Verdict:
        """With several objectives Optuna has no pruned trials."""
        if verdict.end is End.PRUNED and len(self.study.directions) > 1:
            return Verdict(End.FAIL, kind="no_value", cause=verdict.cause or "pruned", run_id=verdict.run_id)
        return verdict

    def _finish(self, trial: Trial, verdict: Verdict) -> None:
        import optuna

        values = list(verdict.values) if verdict.end is End.COMPLETE else None
        notes = (("cause", verdict.cause), ("run_id", verdict.run_id), (studies.FAILURE_ATTR, verdict.kind))
        try:
            for key, value in notes:
                if value is not None:
                    trial.set_user_attr(key, value)
            for constraint in self.constraints:
                constraint.record(trial, verdict.metrics)
            self.study.tell(trial, values, state=_state(verdict.end))
        except RuntimeError as error:
            if isinstance(error, optuna.exceptions.UpdateFinishedTrialError):
                self.view.say(f"trial {trial.number} was given up by another sweeper; its result is lost")
            elif "Study.stop" in str(error):  # the grid has no point left; the trial itself was told
                self.reason = self.reason or Reason.EXHAUSTED
            else:
                raise
        except ValueError as error:
            self.view.say(f"trial {trial.number}: {error}")

    def _note(self, verdict: Verdict, seconds: float) -> None:
        """Keep what later decisions rest on: how long trials take, and how many failed of late."""
        failed = verdict.end is End.FAIL and verdict.kind != "interrupted"
        self._recent.append(failed)
        if verdict.end is End.COMPLETE:
            self._seconds.append(seconds)
        if verdict.kind == "interrupted":
            self.reason = self.reason or Reason.INTERRUPTED
        if failed:
            self.failure = verdict
        size = min(max(10, self.pool.slots), self.settings.n_trials)
        if self.reason is None and sum(self._recent[-size:]) > self.settings.max_failure_rate * size:
            self.reason = Reason.FAILURES

    def _look_for_orphans(self) -> None:
        """Fail the trials of dead sweepers, and enqueue their parameters again."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        orphans = [trial for trial in self.presence.orphans(self._trials()) if self.adopt(trial)]
        self._requeue()
        if orphans:
            self.settle()

    def _wait_for_verdict(self) -> bool:
        """Before the end, see whether sweepers elsewhere live whose trials would be left; False if known."""
        doubtful = self.presence.undecided(self._trials())
        if not doubtful:
            return False
        if not self._doubts:
            numbers = ", ".join(str(t.number) for t in doubtful)
            self.view.say(f"waiting up to a minute to see whether trial {numbers} still has a sweeper")
        self._doubts = True
        self._looked = -1e9
        time.sleep(1.0)
        return True

    def adopt(self, trial: FrozenTrial) -> bool:
        """Give up a trial whose sweeper is dead; False when another sweeper was faster."""
        import optuna

        try:
            for key, value in (("cause", "its sweeper died"), (studies.FAILURE_ATTR, "orphaned")):
                self.study._storage.set_trial_user_attr(trial._trial_id, key, value)
            self.study.tell(trial.number, state=_state(End.FAIL))
        except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
            return False
        self.view.say(f"trial {trial.number} was left by a sweeper that died")
        return True

    def _give_up(self) -> None:
        """End what still runs; it is enqueued again, for whoever resumes the study."""
        self.pool.close(kill=True)
        why = self.reason.value if self.reason is not None else "the loop broke off"
        for running in list(self.running.values()):
            self._tell(running, Verdict(End.FAIL, kind="interrupted", cause=f"stopped: {why}"))
        self.running.clear()

    def _deadline(self) -> float:
        return self._start + self.settings.timeout if self.settings.timeout else float("inf")

    def _time_is_up(self) -> bool:
        """Also true when a trial of the usual length would not end in time."""
        usual = statistics.median(self._seconds) if self._seconds else 0.0
        if time.monotonic() + usual < self._deadline():
            return False
        if not self.running:
            self.reason = self.reason or Reason.TIMEOUT
        return True

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)


def _state(end: End) -> TrialState:
    from optuna.trial import TrialState

    return {End.COMPLETE: TrialState.COMPLETE, End.PRUNED: TrialState.PRUNED, End.FAIL: TrialState.FAIL}[end]
