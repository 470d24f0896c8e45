"""SQL databases, with no more questions than a sweep needs answered."""

from __future__ import annotations

import copy
import datetime
import random
import sqlite3
import time
from collections.abc import Callable, Container, Sequence
from contextlib import closing
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import create_engine, inspect
from sqlalchemy.exc import IntegrityError, ProgrammingError

from rnn_sweep.errors import UserError, damaged
from rnn_sweep.redaction import masked
from rnn_sweep.storage.location import file_of
from rnn_sweep.storage.tables import Notes, read_trials, write_notes

CONNECT_SECONDS = 5
REUSE_SECONDS = 0.1


class _Tables(RDBStorage):
    """Reads trials in two round trips instead of nine."""

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        if states is not None:
            return super()._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)
        known = {trial_id for trial_id in included_trial_ids if trial_id <= trial_id_greater_than}
        trials = read_trials(self.engine, study_id, known, trial_id_greater_than)
        if not trials:
            self.get_study_name_from_id(study_id)  # raises a KeyError where there is no such study
        return trials


class Database(_CachedStorage):
    """Optuna's cache of finished trials, which here answers more of the questions that follow on each other.

    Between two trials a sweeper, its sampler and its pruner ask for all trials about seven times and for one of them
    three times. A list of all trials is good for 0.1 s, unless this process creates a trial: what it did itself is
    always in the answer, and so is everything that others did before it created its latest trial, which is what keeping
    a common budget needs.

    Between :meth:`hold` and :meth:`release` parameters and notes of a new trial are kept back, to be written together.
    Whatever asks the database for trials or ends one writes them first.
    """

    def __init__(self, backend: RDBStorage) -> None:
        super().__init__(backend)
        self._created: set[int] = set()
        """Ids of the trials that this process has created and not told yet."""
        self._latest = (-1, -1, 0.0)
        """Of the latest list: its study, the trials created before it, and until when it is good."""
        self._count = 0
        self._read: tuple[FrozenTrial | None, float] = (None, 0.0)
        """A job's trial as it was last read, with what was reported since, and until when it is good."""
        self._holding = False
        self._held: dict[int, Notes] = {}
        """What is kept back, by trial."""

    def hold(self) -> None:
        """Keep back from now on what is written to trials that this process has created."""
        self._holding = True

    def release(self) -> None:
        """Write what was kept back, and from now on everything at once; after a failure call it again."""
        self._flush()
        self._holding = False

    def _flush(self) -> None:
        while self._held:
            trial_id, notes = next(iter(self._held.items()))
            try:
                write_notes(self._backend.engine, trial_id, notes)
            except IntegrityError:  # only the answer was lost, last time
                self._write_singly(trial_id, notes)
            del self._held[trial_id]

    def _write_singly(self, trial_id: int, notes: Notes) -> None:
        for name, (value, distribution) in notes.params.items():
            super().set_trial_param(trial_id, name, value, distribution)
        for key, value in notes.user_attrs.items():
            super().set_trial_user_attr(trial_id, key, value)
        for key, value in notes.system_attrs.items():
            super().set_trial_system_attr(trial_id, key, value)

    def _keeps(self, trial_id: int, kind: str, key: str, value: Any) -> bool:
        """Keep ``value`` back, where it is new to a trial of this process; ``kind`` is a field of :class:`Notes`."""
        trial = self._cached(trial_id) if self._holding and trial_id in self._created else None
        if trial is None:
            return False
        kept = getattr(self._held.setdefault(trial_id, Notes()), kind)
        if key in getattr(trial, kind) and key not in kept:
            return False
        kept[key] = value
        return True

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """As Optuna's; the next list is read anew."""
        try:
            trial_id = super().create_new_trial(study_id, template_trial)
        finally:
            self._count += 1
        self._created.add(trial_id)
        return trial_id

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """As Optuna's; the present list is brought up to date."""
        self._flush()
        done = super().set_trial_state_values(trial_id, state, values)
        self._read = (None, 0.0)
        if done:
            ended = datetime.datetime.now() if state.is_finished() else None
            self._amend(trial_id, lambda _: {"state": state, "values": values, "datetime_complete": ended})
        if state.is_finished():
            self._created.discard(trial_id)
        return done

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """As Optuna's, which sorts the trials by a function called for each of them."""
        self._read_trials_from_remote_storage(study_id)
        with self._lock:
            known = self._studies[study_id].trials
            trials = [known[number] for number in sorted(known)]
        if states is not None:
            trials = [trial for trial in trials if trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """As Optuna's; for a trial of this process that is under way by a list, which is asked for next anyway.

        A job asks for its trial several times for each report: an answer is good for 0.1 s.
        """
        if trial_id not in self._created:
            return self._get_foreign(trial_id)
        self._latest = (-1, -1, 0.0)
        self._read_trials_from_remote_storage(self._trial_id_to_study_id_and_number[trial_id][0])
        with self._lock:
            return copy.deepcopy(cast("FrozenTrial", self._cached(trial_id)))

    def _get_foreign(self, trial_id: int) -> FrozenTrial:
        trial, until = self._read
        now = time.monotonic()
        if trial is None or trial._trial_id != trial_id or now >= until:
            trial = super().get_trial(trial_id)
            self._read = (trial, now + REUSE_SECONDS)
        return copy.deepcopy(trial)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """As Optuna's; what was read of the trial is brought up to date."""
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)
        self._amend(
            trial_id,
            lambda trial: {"intermediate_values": {**trial.intermediate_values, step: intermediate_value}},
        )
        trial = self._read[0]
        if trial is not None and trial._trial_id == trial_id:
            trial.intermediate_values[step] = intermediate_value

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As Optuna's; the trial is read anew: others who work on it may have left notes, too."""
        if not self._keeps(trial_id, "user_attrs", key, value):
            super().set_trial_user_attr(trial_id, key, value)
        self._read = (None, 0.0)
        self._amend(trial_id, lambda trial: {"user_attrs": {**trial.user_attrs, key: value}})

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As Optuna's; the present list is brought up to date."""
        if not self._keeps(trial_id, "system_attrs", key, value):
            super().set_trial_system_attr(trial_id, key, value)
        self._read = (None, 0.0)
        self._amend(trial_id, lambda trial: {"system_attrs": {**trial.system_attrs, key: value}})

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """As Optuna's; the present list is brought up to date."""
        known = self._studies[self._trial_id_to_study_id_and_number[trial_id][0]].param_distribution.get(param_name)
        if known is not None:
            check_distribution_compatibility(known, distribution)
        kept = (param_value_internal, distribution)
        if known is None or not self._keeps(trial_id, "params", param_name, kept):
            super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
        self._read = (None, 0.0)
        value = distribution.to_external_repr(param_value_internal)
        self._amend(
            trial_id,
            lambda trial: {
                "params": {**trial.params, param_name: value},
                "distributions": {**trial.distributions, param_name: distribution},
            },
        )

    def _amend(self, trial_id: int, change: Callable[[FrozenTrial], dict[str, Any]]) -> None:
        """Bring the present list up to date with what was just written; who holds the trial keeps it as it was."""
        with self._lock:
            trial = self._cached(trial_id)
            if trial is None:
                return
            amended = copy.copy(trial)
            for name, value in change(trial).items():
                setattr(amended, name, value)
            self._studies[self._trial_id_to_study_id_and_number[trial_id][0]].trials[trial.number] = amended

    def _cached(self, trial_id: int) -> FrozenTrial | None:
        study_id, number = self._trial_id_to_study_id_and_number.get(trial_id, (-1, -1))
        return self._studies[study_id].trials.get(number) if study_id in self._studies else None

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        count, now = self._count, time.monotonic()
        if self._latest[:2] == (study_id, count) and now < self._latest[2]:
            return
        self._flush()
        super()._read_trials_from_remote_storage(study_id)
        self._latest = (study_id, count, now + REUSE_SECONDS)


def connect_options(url: str) -> dict[str, Any]:
    """Arguments of ``create_engine``: a server that does not answer is given up soon, unless the URL says when."""
    if url.startswith("sqlite") or "connect_timeout" in parse_qs(urlsplit(url).query):
        return {}
    return {"connect_args": {"connect_timeout": CONNECT_SECONDS}}


def probe(url: str) -> None:
    """Connect once.

    Raises:
        UserError: the tables there are another program's. Alembic's table has the same name for all programs.
    """
    engine = create_engine(url, **connect_options(url))
    try:
        with engine.connect() as connection:
            tables = set(inspect(connection).get_table_names())
    finally:
        engine.dispose()
    if "alembic_version" in tables and "version_info" not in tables:
        owner = "MLflow" if "experiments" in tables else "another program"
        raise UserError(
            f"hydra.sweeper.storage={masked(url)} is the database of {owner}; a study needs a database of its own"
        )


def check_pages(url: str) -> None:
    """Check that every page of a database of sqlite can be read, where there is one.

    Raises:
        Damaged: one cannot: what is asked for later would be an error, or less than there was.
    """
    path = file_of(url)
    if path is None or not path.is_file():
        return
    try:
        with closing(sqlite3.connect(path, timeout=5)) as database:
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:  # in use, or not to be read: opening it tells
        return
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise damaged(path, " ".join(found.split()))


def open_database(url: str, attempts: int = 4) -> Database:
    """Open a database, and make Optuna's tables where there are none.

    Raises:
        RuntimeError: the tables are those of another version of Optuna.
    """
    try:
        return Database(_Tables(url, engine_kwargs=connect_options(url)))
    except (IntegrityError, ProgrammingError):  # another process makes the same tables at the same time
        if attempts == 1:
            raise
    time.sleep(random.uniform(0.2, 0.6))  # noqa: S311 - to get out of step with the other
    return open_database(url, attempts - 1)
