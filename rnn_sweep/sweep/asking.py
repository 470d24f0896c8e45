"""Asking the study for its next trial: within the budget, in the sampler's order, each point once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnn_sweep.storage import at_once, location, quiet
from rnn_sweep.storage.identifiers import storage_of
from rnn_sweep.sweep import confirm, population
from rnn_sweep.sweep import study as studies
from rnn_sweep.sweep.exhaustive import Exhaustive, FiniteSpace
from rnn_sweep.sweep.heartbeat import OWNER_ATTR, Heartbeat
from rnn_sweep.sweep.plan import Plan
from rnn_sweep.sweep.population import Population
from rnn_sweep.sweep.steering import Received
from rnn_sweep.sweep.verdict import Reason
from rnn_sweep.trial import CONFIRM_ATTR, SEGMENT_ATTR

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial


@dataclass
class Asker:
    """Asks on behalf of one sweeper."""

    study: Study
    url: str
    plan: Plan
    heartbeat: Heartbeat
    stopped: bool = False
    """Whether the sampler has asked to end the study: no new point is tried, what waits to be tried again is."""
    spent: bool = False
    """Whether at the latest call the sampler had nothing left to try."""

    def __post_init__(self) -> None:
        # What a sampler calls when it has no point left; Optuna's own method takes that from within `optimize` only.
        vars(self.study)["stop"] = self._stop
        self.orders = Received(self.study, self.heartbeat.id, self.plan.settings.n_trials)
        self._population = _population(self.study, self.plan)
        self._finite = FiniteSpace.of(self.plan.suggester) if self.plan.reuses else None

    def _stop(self) -> None:
        self.stopped = True

    def ask(self) -> tuple[Trial, list[str]] | None:
        """A new trial, signed, with its overrides; None where the budget is used up or no point is left."""
        while True:
            with studies.ask_lock(self.url):  # also while parameters are chosen: a plan or a sequence goes on in order
                with quiet():
                    trial = self._next()
                if trial is None:
                    return None
                with at_once(storage_of(self.study)), quiet():
                    trial.set_user_attr(OWNER_ATTR, self.heartbeat.id)
                    overrides = self.plan.suggester.overrides(trial)
                    overrides += confirm.override(trial, self.plan.prefix)
                    trial.set_user_attr("overrides", overrides)
            surplus = self._is_surplus(trial)
            if not surplus and not self._is_repeated(trial):
                return trial, overrides
            self._drop(trial)
            if surplus:
                return None

    def _next(self) -> Trial | None:
        if not self._may_ask(self._trials()):
            return confirm.claim(self.study)
        if self._population is not None and not self._enqueue_segment(self._population):
            return None
        return self.study.ask()

    def confirm(self) -> int:
        """Enqueue what confirmation still misses; returns how many of its trials wait."""
        if self.plan.confirm is None:
            return 0
        with studies.ask_lock(self.url), quiet():
            return confirm.enqueue(self.study, self.plan.confirm)

    def over(self) -> Reason:
        """Why there is nothing left to ask for."""
        trials = self._trials()
        if self._population is not None and len(studies.counted(trials)) < self._budget:
            open_ = any(t.state.name in ("WAITING", "RUNNING") for t in trials)  # another sweeper's
            return Reason.DONE if open_ else Reason.DIED_OUT
        return Reason.EXHAUSTED if self.spent else Reason.DONE

    @property
    def _budget(self) -> int:
        return self.orders.budget

    def _may_ask(self, trials: list[FrozenTrial]) -> bool:
        """Whether the budget allows a trial, and there is something to try or to try again."""
        if len(trials) >= self._budget and len(studies.counted(trials)) >= self._budget:  # mostly there are too few
            return False
        spent = self.stopped or self._is_exhausted(trials)
        self.spent = spent and not any(t.state.name == "WAITING" for t in trials)
        return not self.spent

    def _enqueue_segment(self, population: Population) -> bool:
        """Let the population's next segment wait, unless one waits; whether there is any."""
        trials = self._trials()
        if any(t.state.name == "WAITING" for t in trials):
            return True
        due = [t.number for t in studies.due_again(trials, self.plan.settings.retries)]
        found = population.next(trials, due)
        if found is not None:
            self.study.enqueue_trial(dict(found.params), user_attrs={SEGMENT_ATTR: dict(found.attribute)})
        return found is not None

    def _is_exhausted(self, trials: list[FrozenTrial]) -> bool:
        """Whether every point was tried; asked of a sampler that tries each once, and where nothing is run twice."""
        sampler = self.study.sampler
        if isinstance(sampler, Exhaustive):
            return sampler.exhausted(trials)
        return self._finite is not None and self._finite.exhausted(trials)

    def _is_surplus(self, trial: Trial) -> bool:
        """Whether another sweeper used the budget up at the same moment (stores without a common lock)."""
        if trial.number < self._budget or CONFIRM_ATTR in trial.user_attrs:
            return False
        before = [t for t in studies.counted(self._trials()) if t.number < trial.number]
        return len(before) >= self._budget

    def _is_repeated(self, trial: Trial) -> bool:
        """Whether another sweeper chose the same point at the same moment (stores without a common lock)."""
        sampler = self.study.sampler
        if location.lock_file(self.url) is not None:
            return False
        trials = self._trials()
        if self._population is not None:
            return population.repeats(trial.number, trials)
        if not isinstance(sampler, Exhaustive):
            return False
        return sampler.repeats(next(t for t in trials if t.number == trial.number), trials)

    def _drop(self, trial: Trial) -> None:
        """End a trial that does not run."""
        from optuna.trial import TrialState

        trial.set_user_attr(studies.SURPLUS_ATTR, True)
        self.study.tell(trial, state=TrialState.FAIL)

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)


def _population(study: Study, plan: Plan) -> Population | None:
    if plan.evolution is None:
        return None
    seed = plan.evolution.seed or str(study.user_attrs.get(studies.ID_ATTR, study.study_name))
    return Population(plan.evolution, plan.space, study.directions[0].name == "MAXIMIZE", seed)
