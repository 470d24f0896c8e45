"""Telling a study how one of its trials ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from rnn_sweep.storage.identifiers import id_of_trial
from rnn_sweep.sweep import constraints
from rnn_sweep.sweep import study as studies
from rnn_sweep.sweep.constraints import Constraint
from rnn_sweep.sweep.plan import Plan
from rnn_sweep.sweep.verdict import End, Verdict

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import TrialState


class Fitted(NamedTuple):
    """How a trial ends for its study."""

    verdict: Verdict
    mistake: str | None = None
    """In the constraints: what the trial has shown to be wrong with them."""


def fitting(study: Study, plan: Plan, trial: Trial, verdict: Verdict) -> Fitted:
    """A trial that was told to stop is pruned; with several objectives Optuna has no pruned trials.

    One that shows a mistake in the constraints is tried again when they have been mended: a trial without a value for
    them could not be compared.
    """
    why = studies.why_pruned(study, id_of_trial(trial)) if plan.identity else None
    if why is not None:
        verdict = replace(verdict, end=End.PRUNED, values=(), kind=None, cause=why or verdict.cause)
    if verdict.end is End.COMPLETE:
        shown = constraints.shown(trial, verdict.metrics)
        mistake = constraints.mistake(plan.constraints, study.get_trials(deepcopy=False), shown)
        if mistake is not None:
            return Fitted(Verdict(End.FAIL, kind="interrupted", cause=mistake, run_id=verdict.run_id), mistake)
    if verdict.end is End.PRUNED and len(study.directions) > 1:
        kind = studies.STOPPED if why else "no_value"
        return Fitted(Verdict(End.FAIL, kind=kind, cause=verdict.cause or "pruned", run_id=verdict.run_id))
    return Fitted(verdict)


def tell(study: Study, trial: Trial, verdict: Verdict, measured: Sequence[Constraint]) -> str | None:
    """Record how a trial ended, with its cause, run and constraints; returns what the user should know of it."""

    def annotate() -> None:
        notes = (("cause", verdict.cause), ("run_id", verdict.run_id), (studies.FAILURE_ATTR, verdict.kind))
        for key, value in notes:
            if value is not None:
                trial.set_user_attr(key, value)
        for constraint in measured:
            constraint.record(trial, constraints.shown(trial, verdict.metrics))

    return end(study, trial, verdict, annotate)


def end(study: Study, trial: Trial, verdict: Verdict, annotate: Callable[[], None]) -> str | None:
    """End a trial after ``annotate`` has written on it what else there is; returns what the user should know of it."""
    import optuna

    values = list(verdict.values) if verdict.end is End.COMPLETE else None
    try:
        annotate()
        study.tell(trial, values, state=_state(verdict.end))
    except optuna.exceptions.UpdateFinishedTrialError:
        return f"trial {trial.number} was given up by another sweeper; its result is lost"
    except ValueError as error:
        return f"trial {trial.number}: {error}"
    return None


def _state(end: End) -> TrialState:
    from optuna.trial import TrialState

    return {End.COMPLETE: TrialState.COMPLETE, End.PRUNED: TrialState.PRUNED, End.FAIL: TrialState.FAIL}[end]
