"""Nothing twice: a trial whose configuration was run before takes the outcome that is recorded of it.

A trial that ran keeps its configuration's fingerprint. A later one with the same fingerprint, of this study or of
another one that lies beside it, gets values, curve, constraints and the job's notes from it, and an attribute that says
whose they are; no job runs. What a pruner cut off is an outcome within its own study only, since
it followed from the trials there; a failed trial is none.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_sweep.storage import at_once, open_storage, quiet
from rnn_sweep.storage.identifiers import id_of_study, id_of_trial, storage_of
from rnn_sweep.storage.location import file_of
from rnn_sweep.sweep import study as studies
from rnn_sweep.sweep.counts import state_of
from rnn_sweep.sweep.heartbeat import OWNER_ATTR
from rnn_sweep.sweep.plan import Plan
from rnn_sweep.sweep.study import REUSED_ATTR
from rnn_sweep.sweep.verdict import End, Verdict
from rnn_sweep.trial import CONFIRM_ATTR, PRUNED_ATTR, RETRY_ATTR, STOP_ATTR

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

FINGERPRINT_ATTR = "fingerprint"
"""Trial attribute: see :mod:`rnn_sweep.sweep.fingerprint`."""
ORIGINS_ATTR = "origins"
"""Study attribute: digests of the programs and code versions that its trials ran with, where known."""

_OWN = {"overrides", OWNER_ATTR, RETRY_ATTR, STOP_ATTR, FINGERPRINT_ATTR, REUSED_ATTR, studies.ATTEMPT_ATTR}
_OWN |= {studies.SURPLUS_ATTR, studies.FAILURE_ATTR, CONFIRM_ATTR}
"""Attributes that are a trial's and not its outcome's."""


@dataclass(frozen=True)
class Known:
    """An outcome that is recorded."""

    study: str
    trial: FrozenTrial

    @property
    def origin(self) -> dict[str, Any]:
        """Study and number of the trial that ran."""
        return self.trial.user_attrs.get(REUSED_ATTR) or {"study": self.study, "trial": self.trial.number}


@dataclass
class Reuse:
    """What a sweep knows of configurations that were run; empty where its plan takes no fingerprints."""

    study: Study
    url: str
    """Of the study's storage."""
    plan: Plan
    _id: str = field(init=False)

    def __post_init__(self) -> None:
        self._id = str(self.study.user_attrs.get(studies.ID_ATTR, self.study.study_name))
        origin = self._origin
        known = self.study.user_attrs.get(ORIGINS_ATTR, [])
        if origin is not None and origin not in known:
            self.study.set_user_attr(ORIGINS_ATTR, [*known, origin])

    @property
    def _origin(self) -> str | None:
        return None if self.plan.fingerprints is None else self.plan.fingerprints.origin

    def note(self, trial: Trial, overrides: list[str], index: int) -> str | None:
        """Take the fingerprint of a trial and note it on it; None where there is none."""
        if self.plan.fingerprints is None:
            return None
        found = self.plan.fingerprints.take(overrides, index, self._id)
        if found is not None:
            trial.set_user_attr(FINGERPRINT_ATTR, found)
        return found

    def find(self, fingerprint: str | None) -> Known | None:
        """The outcome of a configuration; None where there is none."""
        if fingerprint is None or not self.plan.reuses:
            return None
        for trial in self.study.get_trials(deepcopy=False):
            if trial.user_attrs.get(FINGERPRINT_ATTR) == fingerprint and self._fits(trial, own=True):
                return Known(self.study.study_name, trial)
        return self._others.get(fingerprint)

    def _fits(self, trial: FrozenTrial, *, own: bool) -> bool:
        """Whether a trial's outcome is one that another trial of this study may have."""
        state = state_of(trial)
        if state == "complete":
            wanted = {each.text for each in self.plan.constraints}
            return len(trial.values) == len(self.study.directions) and trial.constraints.keys() >= wanted
        by_pruner = not isinstance(trial.user_attrs.get(PRUNED_ATTR), str)  # and not by a person
        return state == "diverged" or (own and state == "pruned" and by_pruner and self._prunes)

    @property
    def _prunes(self) -> bool:
        from optuna.pruners import NopPruner

        return not isinstance(self.study.pruner, NopPruner)

    def verdict(self, known: Known) -> Verdict:
        """How a trial with a known outcome ends."""
        source = known.trial
        complete = source.state.name == "COMPLETE"
        return Verdict(
            End.COMPLETE if complete else End.PRUNED,
            values=tuple(source.values) if complete else (),
            cause=self._told(known.origin),
            run_id=source.user_attrs.get("run_id"),
        )

    def copy(self, trial: Trial, known: Known) -> None:
        """Write all of a known outcome on a trial but its state and values."""
        source, storage = known.trial, trial.storage
        notes = {key: value for key, value in source.user_attrs.items() if key not in _OWN}
        with at_once(storage), quiet():
            for key, value in {**notes, REUSED_ATTR: known.origin}.items():
                trial.set_user_attr(key, value)
            for step, value in source.intermediate_values.items():
                storage.set_trial_intermediate_value(id_of_trial(trial), step, value)
            for each in self.plan.constraints:
                if each.text in source.constraints:
                    trial.set_constraint(each.text, source.constraints[each.text])

    def _told(self, origin: dict[str, Any]) -> str:
        of = "" if origin["study"] == self.study.study_name else f" of the study {origin['study']}"
        return f"reused: trial {origin['trial']}{of} had this configuration"

    @cached_property
    def _others(self) -> dict[str, Known]:
        """The outcomes of other studies with trials of the same program and code, as they are at the first look."""
        origin, found = self._origin, dict[str, Known]()
        if origin is None:
            return found
        for storage in self._storages(origin):
            for study in storage.get_all_studies():
                own = study.user_attrs.get(studies.ID_ATTR) == self._id
                if own or origin not in study.user_attrs.get(ORIGINS_ATTR, ()):
                    continue
                for trial in storage.get_all_trials(id_of_study(study), deepcopy=False):
                    fingerprint = trial.user_attrs.get(FINGERPRINT_ATTR)
                    if fingerprint is not None and self._fits(trial, own=False):
                        found.setdefault(fingerprint, Known(study.study_name, trial))
        return found

    def _storages(self, origin: str) -> Iterator[BaseStorage]:
        """The study's own storage or, where each study has a file of its own, those files beside it that matter."""
        own = file_of(self.url)
        if self.plan.settings.storage is not None or own is None:
            yield storage_of(self.study)
            return
        for path in sorted(own.parent.glob("*.journal")):
            if path != own and _mentions(path, origin):
                yield open_storage(f"journal://{path}")


def _mentions(path: Path, text: str) -> bool:
    """Whether a text is in a file: that takes far less time than to read its studies."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(text.encode()) >= 0
    except (OSError, ValueError):  # empty, or not to be read
        return False
