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

from rnn_sweep.arguments import check_arguments
from rnn_sweep.errors import UserError, near
from rnn_sweep.storage import open_patiently, quiet
from rnn_sweep.storage.identifiers import id_of_study, storage_of

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage

PRUNER_ATTR = "pruner"
"""Study attribute with the pruner as a JSON ``_target_`` node."""

RETRY_ATTR = "retry_of"
"""Trial attribute: the number of the trial whose parameters this one has."""

CONFIRM_ATTR = "confirms"
"""Trial attribute of one that confirms another by another seed: ``{trial, seed}``; a job's identity has the former."""

SEGMENT_ATTR = "segment"
"""Trial attribute of one that trains a part of a run, also in its identity: ``{member, generation, start, until,
source, copied, keys}``. It goes from epoch ``start`` to ``until``, and begins with the checkpoint that the trial
``source`` has left, of the member ``copied`` where that is another; ``keys`` are those of the settings that change."""

STEPS_ATTR = "steps."
"""Beginning of the trial attributes with the values by step of each replicate: ``steps.0``, ``steps.1``, …"""

PRUNED_ATTR = "reporter.pruned"
"""Trial attribute of one that is pruned, whatever its job returns or raises: True where its reporter has answered
"stop", a text where a person has stopped it."""

STOP_ATTR = "stop"
"""Trial attribute: the job is to end in order, soon. :data:`YIELD` where the sweep itself goes on."""
YIELD = "yield"
"""Value of :data:`STOP_ATTR`: the trial leaves its place, and goes on from its checkpoint as another one."""


class Reporter:
    """What a job says to its study.

    Args:
        identity: the config node ``trial``: ``{study_name, storage, number, …}``. None in a plain run; a job of a grid,
            which has no study, and an application's own value say nothing either.
    """

    def __init__(self, identity: Mapping[str, Any] | None) -> None:
        told = isinstance(identity, Mapping) and "number" in identity
        self._identity = identity if told else None
        self.told = False
        """Whether :attr:`stopping` was true at the latest report: to know it then costs nothing."""
        self.lost = False
        """Whether the trial has ended without this job, as of the latest question: its sweep has taken the job for
        dead, and another try may go on with its MLflow run."""

    def report(self, step: int, value: float) -> bool:
        """Record the objective's value at ``step`` (once for each; our epochs count from 1) and ask whether to go on.

        Returns:
            False when the study's pruner stops this trial, and from then on: the trial is pruned, whatever the job
            returns or raises. With several objectives, or where the trial confirms another one, only a person stops
            it; always True in a plain run.
        """
        if self._identity is None:
            return True
        if self._is_over():
            return False
        storage, trial_id = storage_of(self._study), self._trial_id
        recorded = len(self._study.directions) == 1 and self._record({step: value})
        if self._is_over():  # what was said before this epoch stood in the study holds for this epoch
            return False
        if not recorded or CONFIRM_ATTR in self._identity:
            return True
        with quiet():
            pruned = self._study.pruner.prune(self._study, storage.get_trial(trial_id))
        if pruned:
            storage.set_trial_user_attr(trial_id, PRUNED_ATTR, True)  # tells the sweeper, and the other replicates
        return not pruned

    def _is_over(self) -> bool:
        """Whether the trial is not to go on: a person has stopped it, it is pruned, or its sweeper has given it up.

        Also notes :attr:`told` and :attr:`lost`.
        """
        trial = storage_of(self._study).get_trial(self._trial_id)
        self.told, self.lost = STOP_ATTR in trial.user_attrs, trial.state.is_finished()
        return self.lost or PRUNED_ATTR in trial.user_attrs

    def _record(self, values: Mapping[int, float]) -> bool:
        """Record values by step; of a trial with replicates the means, once each has been through a step.

        Returns:
            Whether the study knows the trial at the last of these steps.
        """
        storage, trial_id = storage_of(self._study), self._trial_id
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
            each = [notes.get(f"{STEPS_ATTR}{replicate}", {}) for replicate in range(count)]
            common = set.intersection(*map(set, each))
            means = {int(step): statistics.fmean(one[step] for one in each) for step in common}
        for step in sorted(means.keys() - known.keys()):
            storage.set_trial_intermediate_value(trial_id, step, float(means[step]))
        return not values or max(values) in means

    @property
    def stopping(self) -> bool:
        """Whether the job is to end soon: its sweeper is being stopped, or the study is paused; ask after each step.

        The job then leaves a checkpoint and returns an outcome whose state is interrupted: the trial is tried again
        when the study goes on.
        """
        if self._identity is None:
            return False
        self._is_over()
        return self.told or self.lost

    def ask_whether_lost(self) -> bool:
        """:attr:`lost` as it is now."""
        if self._identity is not None:
            self._is_over()
        return self.lost

    def earlier(self) -> Iterator[Mapping[str, Any]]:
        """The notes of each try before this one, the latest first; a try that died early has left none."""
        if self._identity is None:
            return
        end, notes = self._key(""), self._notes(self._trial_id)
        while RETRY_ATTR in notes:
            notes = self._notes(self._id_of(int(notes[RETRY_ATTR])))
            yield {k.removesuffix(end): v for k, v in notes.items() if k.endswith(end)}

    def source(self) -> tuple[int, Mapping[str, Any]] | None:
        """Number and notes of the trial from whose checkpoint this one starts; None where it begins anew."""
        number = ((self._identity or {}).get(SEGMENT_ATTR) or {}).get("source")
        return None if number is None else (int(number), self._notes(self._id_of(int(number))))

    def repeat(self, values: Mapping[int, float]) -> None:
        """Record the objective's values, by step, of what an earlier try of this trial has been through."""
        if self._identity is None or len(self._study.directions) > 1:
            return
        self._record(values)

    def note(self, key: str, value: object) -> None:
        """Leave a JSON-serialisable value on the trial (an Optuna user attribute), such as a run id."""
        if self._identity is not None:
            storage_of(self._study).set_trial_user_attr(self._trial_id, self._key(key), value)

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
        return storage_of(self._study).get_trial_id_from_study_id_trial_number(id_of_study(self._study), number)

    def _notes(self, trial_id: int) -> Mapping[str, Any]:
        notes: Mapping[str, Any] = storage_of(self._study).get_trial(trial_id).user_attrs
        return notes


def build_pruner(node: Mapping[str, Any] | None, key: str = "hydra.sweeper.pruner") -> BasePruner:
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
        arguments["wrapped_pruner"] = build_pruner(arguments["wrapped_pruner"], f"{key}.wrapped_pruner")
    module, _, name = target.rpartition(".")
    if module != "optuna.pruners" or name not in pruners.__all__:
        known = [f"optuna.pruners.{n}" for n in pruners.__all__]
        raise UserError(f"{key}._target_ must be a pruner of Optuna, got {target!r}; {near(target, known)}")
    try:
        check_arguments(key, getattr(pruners, name), arguments)
        with quiet():
            pruner: BasePruner = getattr(pruners, name)(**arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"{key}: {name} refuses its arguments {arguments}: {error}") from error
    return pruner


@functools.lru_cache(maxsize=4)
def _shared_storage(url: str) -> BaseStorage:
    """One open storage for all trials of a worker process: replaying a journal costs time."""
    return open_patiently(url)
