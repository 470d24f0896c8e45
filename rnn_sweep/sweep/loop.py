"""The loop: ask, submit, tell the first that is done. A slot that frees gets the next trial at once."""

from __future__ import annotations

import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from rnn_sweep.storage.identifiers import id_of_trial
from rnn_sweep.sweep import confirm, replicates, steering
from rnn_sweep.sweep import study as studies
from rnn_sweep.sweep.asking import Asker
from rnn_sweep.sweep.clock import Clock
from rnn_sweep.sweep.hooks import Hooks
from rnn_sweep.sweep.jobs import Jobs
from rnn_sweep.sweep.orphans import Orphans
from rnn_sweep.sweep.plan import Plan
from rnn_sweep.sweep.pool import Pool
from rnn_sweep.sweep.progress import Progress
from rnn_sweep.sweep.replicates import judge_all, merged, notes, together
from rnn_sweep.sweep.reuse import Reuse
from rnn_sweep.sweep.running import InFlight, Running, running_one
from rnn_sweep.sweep.signals import Stop
from rnn_sweep.sweep.steering import Received
from rnn_sweep.sweep.telling import end, fitting, tell
from rnn_sweep.sweep.verdict import End, Reason, Verdict
from rnn_sweep.trial import STOP_ATTR
from rnn_sweep.watchdog import Overdue

if TYPE_CHECKING:
    from optuna import Study, Trial

JOBLESS = frozenset({"worker_died", "interrupted"})
"""Kinds of failure in which the job may not have come to its own end."""
HEED_SECONDS = 0.5
"""Between two looks for Ctrl-C while trials run."""


@dataclass
class Loop:
    """One sweeper's work on a study."""

    asker: Asker
    jobs: Jobs
    pool: Pool
    hooks: Hooks
    stop: Stop
    view: Progress
    running: InFlight = field(default_factory=dict)
    reason: Reason | None = None
    failure: Verdict | None = None
    """The latest failed trial."""
    _recent: list[bool] = field(default_factory=list)
    _yielding: set[int] = field(default_factory=set)
    """Trials that were asked to make room."""

    def __post_init__(self) -> None:
        self.reuse = Reuse(self.study, self.asker.url, self.plan)
        self.clock = Clock(self.plan.settings.timeout)
        self.orphans = Orphans(self.study, self.asker.heartbeat, self.view.say)

    @property
    def study(self) -> Study:
        """Whose trials are run."""
        return self.asker.study

    @property
    def plan(self) -> Plan:
        """Of the sweep."""
        return self.asker.plan

    @property
    def orders(self) -> Received:
        """To the study."""
        return self.asker.orders

    def _settle(self) -> None:
        """A trial has ended without its job's doing: close what the job left open."""
        self.hooks.close_stale(self.jobs.parent_run_id, self.study)

    def run(self) -> Reason:
        """Work until the budget, the time, the space or the user's patience is used up."""
        self._adjust()
        while True:
            self._heed_signals()
            self._heed_orders()
            self._look_for_orphans()
            while self._may_start() and self._start_one():
                self._heed_signals()
            if self.running:
                self._collect()
            elif self.reason is None and self.orders.paused is not None:
                time.sleep(HEED_SECONDS)
                self.clock.pass_over(HEED_SECONDS)
            elif self.reason is not None or not self._is_more():
                return self.reason or self.asker.over()

    def _is_more(self) -> bool:
        """Where nothing runs and nothing is to be started, whether that may change; else what is to be confirmed."""
        if self.orphans.wait() or self._heed_orders(now=True):
            return True
        waiting = self.asker.confirm()
        if waiting:
            self.view.say(f"confirming {self.plan.confirm}: {waiting} trials beyond n_trials")
        return waiting > 0

    def _may_start(self) -> bool:
        return self.reason is None and self.orders.paused is None and len(self.running) < self._most()

    def _heed_orders(self, *, now: bool = False) -> bool:
        """Do what people have told the study to do; whether there was anything new."""
        new = self.orders.look(now=now)
        for order in new:
            self.view.say(f"{steering.words(order)}: {order.giver}")
        if new:
            self._adjust()
        kept = 0 if self.orders.paused is not None else self._most()
        surplus = [running.trial for running in self.running.values()][kept:]
        for trial in surplus if self.plan.heeds and self.reason is None else []:
            if trial.number not in self._yielding:
                self._yielding.add(trial.number)
                studies.ask_to_yield(self.study, trial)
        return bool(new)

    def _adjust(self) -> None:
        """Take over the number of workers, and say that the study is paused."""
        wanted = self.orders.jobs
        if wanted is not None and wanted != self._most():
            self.pool.resize(wanted * self.jobs.each)
            if wanted != self._most():
                self.view.say(f"this launcher can run {self._most()} trial(s) at a time here, not {wanted}")
        self.view.expect(self.orders.budget, self._most())
        if self.orders.paused is not None:
            how = f"`rnn-sweep continue {self.study.study_name}` lets it go on"
            self.view.say(f"the study is paused by {self.orders.paused.giver}: {how}")

    def _heed_signals(self) -> None:
        """After the first Ctrl-C let the running trials end, early where they can; a second one gives them up."""
        if self.stop.count and self.reason is None:
            self.reason = Reason.INTERRUPTED
            if self.running:
                when = "the current epoch of" if self.plan.heeds else "the end of"
                self.view.say(f"stopping after {when} {len(self.running)} running trial(s); Ctrl-C again stops at once")
            for running in self.running.values():
                self._ask_to_end(running.trial)
        if self.stop.count > 1 and self.running:
            self._give_up()

    def _ask_to_end(self, trial: Trial) -> None:
        if self.plan.heeds:
            trial.set_user_attr(STOP_ATTR, True)

    def _start_one(self) -> bool:
        """Ask for a trial and submit it; False when nothing is to be started now."""
        if self.clock.is_up():
            if not self.running:
                self.reason = self.reason or Reason.TIMEOUT
            return False
        asked = self.asker.ask()
        if asked is None:
            return False
        trial, overrides = asked
        self.view.started()
        running = Running(trial, overrides, self.reuse.note(trial, overrides, self.jobs.first(trial)))
        self._heed_orders(now=True)  # who has paused the study meanwhile may not have seen this trial
        if self.orders.paused is not None:
            self._yield(running)
            return False
        return self._launch(running)

    def _yield(self, running: Running) -> None:
        """Leave a trial that does not run to a time when the study is not paused."""
        studies.ask_to_yield(self.study, running.trial)
        self._tell(running, Verdict(End.FAIL, kind="interrupted", cause="paused"))

    def _launch(self, running: Running) -> bool:
        """Submit a trial that was asked for, unless its configuration is known; False where Ctrl-C came first."""
        trial = running.trial
        try:
            with self.stop.raising(partial(self._ask_to_end, trial) if self.plan.heeds else None):
                known = self._known(running.fingerprint)
                future = known or together([self.pool.submit(*job) for job in self.jobs.of(trial, running.overrides)])
        except KeyboardInterrupt:
            self._tell(running, Verdict(End.FAIL, kind="interrupted", cause="interrupted"))
            return False
        self.running[future] = replace(running, runs=known is None)
        return True

    def _most(self) -> int:
        """Trials in flight."""
        return max(1, self.pool.slots // self.jobs.each)

    def _known(self, fingerprint: str | None) -> Future[replicates.Jobs | None] | None:
        """A future without jobs, done once the outcome of a configuration is known; None where nobody has run it."""
        if fingerprint is None or not self.plan.reuses:
            return None
        if self.reuse.find(fingerprint) is not None:
            return replicates.nothing()
        first = running_one(self.running, fingerprint)
        return None if first is None else replicates.nothing(after=first)

    def _collect(self) -> None:
        """Wait for the first trial to end (for the oldest one with ``deterministic``) and tell it."""
        waiting = list(self.running)[:1] if self.plan.settings.deterministic else list(self.running)
        done, _ = wait(waiting, timeout=min(HEED_SECONDS, self.clock.left), return_when=FIRST_COMPLETED)
        for future in [f for f in waiting if f in done]:
            running = self.running.pop(future)
            jobs = future.result()
            if jobs is None:
                self._reuse(running)
                continue
            verdicts = judge_all(jobs, len(self.study.directions))
            for key, value in notes(self.plan.seeds, verdicts).items():
                running.trial.set_user_attr(key, value)
            self._tell(running, merged(verdicts))
        if self.running and not self.clock.left and self.reason is None:
            self.reason = Reason.TIMEOUT
            self._give_up()
        if self.running and self.reason is Reason.MISTAKE:
            self._give_up()

    def _reuse(self, running: Running) -> None:
        """Give a trial the outcome of its configuration; where that has come to nothing in the meantime, run it."""
        trial, known = running.trial, self.reuse.find(running.fingerprint)
        if studies.why_pruned(self.study, id_of_trial(trial)) is not None:
            self._tell(running, Verdict(End.PRUNED))
        elif known is not None:
            verdict = self.reuse.verdict(known)
            self._say(end(self.study, trial, verdict, partial(self.reuse.copy, trial, known)))
            self.hooks.record_reused(self.jobs.parent_run_id, self.study, trial.number)
            self.view.ended(trial.number, verdict, time.monotonic() - running.since)
        elif self.reason is not None:
            self._tell(running, Verdict(End.FAIL, kind="interrupted", cause=f"stopped: {self.reason.value}"))
        elif self.orders.paused is not None:
            self._yield(running)
        else:
            self._launch(replace(running, since=time.monotonic()))

    def _say(self, remark: str | None) -> None:
        if remark is not None:
            self.view.say(remark)

    def _tell(self, running: Running, verdict: Verdict) -> None:
        """Record how a trial ended, and enqueue it again where its cause allows that."""
        trial, seconds = running.trial, time.monotonic() - running.since
        fitted = self._fit(trial, verdict)
        self._say(tell(self.study, trial, fitted, self.plan.constraints))
        if verdict.kind == "interrupted" and not studies.why_pruned(self.study, id_of_trial(trial)):
            if studies.has_yielded(self.study, id_of_trial(trial)):
                self._heed_orders(now=True)  # it may know of a pause before this sweeper does
            else:
                self.reason = self.reason or Reason.INTERRUPTED
        self._note(fitted, seconds)
        self.view.ended(trial.number, fitted, seconds, confirm.told(trial))
        if fitted.end is End.FAIL:
            self._requeue()
        if verdict.kind in JOBLESS or isinstance(verdict.error, Overdue):
            self._settle()

    def _requeue(self) -> None:
        for number in studies.requeue(self.study, self.asker.url, self.plan.settings.retries):
            self.view.say(f"trial {number} will be tried again with the same parameters")

    def _fit(self, trial: Trial, verdict: Verdict) -> Verdict:
        """How a trial ends for its study; a mistake in the constraints, which it may show, ends the sweep."""
        fitted = fitting(self.study, self.plan, trial, verdict)
        if fitted.mistake is not None:
            self.reason, self.failure = Reason.MISTAKE, Verdict(End.FAIL, cause=fitted.mistake)
        return fitted.verdict

    def _note(self, verdict: Verdict, seconds: float) -> None:
        """Keep what later decisions rest on: how long trials take, and how many failed of late."""
        failed = verdict.end is End.FAIL and verdict.kind not in ("interrupted", studies.STOPPED)
        self._recent.append(failed)
        if verdict.end is End.COMPLETE:
            self.clock.took(seconds)
        if failed:
            self.failure = verdict
        size = min(max(10, self.pool.slots), self.plan.settings.n_trials)
        if self.reason is None and sum(self._recent[-size:]) > self.plan.settings.max_failure_rate * size:
            self.reason = Reason.FAILURES

    def _look_for_orphans(self) -> None:
        """Take over the trials of dead sweepers, and enqueue their parameters again."""
        if self.orphans.are_due():
            adopted = self.orphans.adopt()
            self._requeue()
            if adopted:
                self._settle()

    def _give_up(self) -> None:
        """End what still runs; it is enqueued again, for whoever resumes the study."""
        self.pool.close(kill=True)
        why = self.reason.value if self.reason is not None else "the loop broke off"
        for running in list(self.running.values()):
            self._tell(running, Verdict(End.FAIL, kind="interrupted", cause=f"stopped: {why}"))
        self.running.clear()
