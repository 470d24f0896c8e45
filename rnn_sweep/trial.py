"""The job's side of a sweep: report to the study, ask whether to go on, leave notes on the trial.

A trial's identity is data. The sweeper puts it into the top-level config node ``trial``, which an application
declares as ``trial: null``; in a plain run it stays null and every call here does nothing, without importing
Optuna.
"""

from __future__ import annotations

import functools
import json
import statistics
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rnn_sweep.errors import UserError
from rnn_sweep.storage import open_patiently, quiet

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage

PRUNER_ATTR = "pruner"
"""Study attribute with the pruner as a JSON ``_target_`` node."""

RETRY_ATTR = "retry_of"
"""Trial attribute: the number of the trial whose parameters this one has."""

PRUNED_ATTR = "pruned"
"""Trial attribute of one with replicates: one of them was told to stop, and the others will be."""

STOP_ATTR = "stop"
"""Trial attribute: its sweeper wants the job to end in order, soon."""


class Reporter:
    """What a job says to its study.

    Args:
        identity: the config node ``trial``: ``{study_name, storage, number, …}``, or None in a plain run.
    """

    def __init__(self, identity: Mapping[str, Any] | None) -> None:
        self._identity = identity

    def report(self, step: int, value: float) -> bool:
        """Record the objective's value at ``step`` (from 0; once for each step) and ask whether to go on.

        Returns:
            False when the study's pruner stops this trial; always True in a plain run and with several
            objectives.
        """
        if self._identity is None or len(self._study.directions) > 1:
            return True
        storage, trial_id = self._study._storage, self._trial_id
        trial = storage.get_trial(trial_id)
        if trial.state.is_finished():  # the sweeper gave it up: its time is over, or it was taken for dead
            return False
        if self._replicate is not None and trial.user_attrs.get(PRUNED_ATTR):
            return False
        if not self._record({step: value}):
            return True
        with quiet():
            pruned = self._study.pruner.prune(self._study, storage.get_trial(trial_id))
        if pruned and self._replicate is not None:
            storage.set_trial_user_attr(trial_id, PRUNED_ATTR, True)  # tells the other replicates
        return not pruned

    def _record(self, values: Mapping[int, float]) -> bool:
        """Record values by step; of a trial with replicates the means, once each has been through a step.

        Returns:
            Whether the study knows the trial at the last of these steps.
        """
        storage, trial_id = self._study._storage, self._trial_id
        trial = storage.get_trial(trial_id)
        known = dict.fromkeys(trial.intermediate_values)
        means: Mapping[int, float] = values
        if self._replicate is not None:
            own = {
                **trial.user_attrs.get(self._key("steps"), {}),
                **{str(step): float(v) for step, v in values.items()},
            }
            storage.set_trial_user_attr(trial_id, self._key("steps"), own)
            notes, count = self._notes(trial_id), int((self._identity or {})["replicates"])
            each = [notes.get(f"steps.{replicate}", {}) for replicate in range(count)]
            common = set.intersection(*map(set, each))
            means = {int(step): statistics.fmean(one[step] for one in each) for step in common}
        for step in sorted(means.keys() - known.keys()):
            storage.set_trial_intermediate_value(trial_id, step, float(means[step]))
        return not values or max(values) in means

    @property
    def stopping(self) -> bool:
        """Whether the sweeper, being told to stop itself, wants this job to end soon; to be asked after each step.

        The job then leaves a checkpoint and returns an outcome whose state is interrupted: the trial is tried again
        when the study goes on.
        """
        return self._identity is not None and STOP_ATTR in self._notes(self._trial_id)

    def earlier(self) -> Iterator[Mapping[str, Any]]:
        """The notes of each try before this one, the latest first; a try that died early has left none."""
        if self._identity is None:
            return
        end, notes = self._key(""), self._notes(self._trial_id)
        while RETRY_ATTR in notes:
            notes = self._notes(self._id_of(int(notes[RETRY_ATTR])))
            yield {k.removesuffix(end): v for k, v in notes.items() if k.endswith(end)}

    def repeat(self, values: Mapping[int, float]) -> None:
        """Record the objective's values, by step, of what an earlier try of this trial has been through."""
        if self._identity is None or len(self._study.directions) > 1:
            return
        self._record(values)

    def note(self, key: str, value: object) -> None:
        """Leave a JSON-serialisable value on the trial (an Optuna user attribute), such as a run id."""
        if self._identity is not None:
            self._study._storage.set_trial_user_attr(self._trial_id, self._key(key), value)

    @property
    def _replicate(self) -> int | None:
        """Which of the trial's jobs this one is, where it has several."""
        return (self._identity or {}).get("replicate")

    def _key(self, key: str) -> str:
        """Name of this job's own note: with several jobs each has its own."""
        return key if self._replicate is None else f"{key}.{self._replicate}"

    @functools.cached_property
    def _study(self) -> Study:
        import optuna

        identity = self._identity or {}
        storage = _shared_storage(str(identity["storage"]))
        name, url = str(identity["study_name"]), str(identity["storage"])
        try:
            study = optuna.load_study(study_name=name, storage=storage)
        except KeyError:
            where = "a journal or sqlite file must lie in a folder that all machines share"
            raise UserError(f"trial.storage={url} holds no study {name!r} on this machine; {where}") from None
        node = study.user_attrs.get(PRUNER_ATTR)
        study.pruner = build_pruner(json.loads(node) if node else None)
        return study

    @functools.cached_property
    def _trial_id(self) -> int:
        return self._id_of(int((self._identity or {})["number"]))

    def _id_of(self, number: int) -> int:
        return self._study._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)

    def _notes(self, trial_id: int) -> Mapping[str, Any]:
        notes: Mapping[str, Any] = self._study._storage.get_trial(trial_id).user_attrs
        return notes


def build_pruner(node: Mapping[str, Any] | None) -> BasePruner:
    """Make a pruner from its ``_target_`` node; a ``wrapped_pruner`` inside it may be a node, too.

    Only classes of ``optuna.pruners`` are accepted, because the node is read back from the study.

    Raises:
        UserError: an unknown pruner or an argument that it refuses.
    """
    from optuna import pruners

    if node is None:
        return pruners.NopPruner()
    target = str(node.get("_target_"))
    arguments = {k: v for k, v in node.items() if not str(k).startswith("_")}
    if isinstance(arguments.get("wrapped_pruner"), Mapping):
        arguments["wrapped_pruner"] = build_pruner(arguments["wrapped_pruner"])
    module, _, name = target.rpartition(".")
    if module != "optuna.pruners" or name not in pruners.__all__:
        known = ", ".join(f"optuna.pruners.{n}" for n in pruners.__all__)
        raise UserError(f"hydra.sweeper.pruner._target_ must be one of {known}; got {target!r}")
    try:
        with quiet():
            pruner: BasePruner = getattr(pruners, name)(**arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"hydra.sweeper.pruner: {name} refuses its arguments {arguments}: {error}") from error
    return pruner


@functools.lru_cache(maxsize=4)
def _shared_storage(url: str) -> BaseStorage:
    """One open storage for all trials of a worker process: replaying a journal costs time."""
    return open_patiently(url)
