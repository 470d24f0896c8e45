"""SQL databases, with no more questions than a sweep needs answered."""

from __future__ import annotations

import copy
import datetime
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from optuna.distributions import BaseDistribution
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import create_engine, inspect
from sqlalchemy.exc import IntegrityError, ProgrammingError

from rnn_sweep.errors import UserError
from rnn_sweep.storage.urls import masked

CONNECT_SECONDS = 5
REUSE_SECONDS = 0.1


class Database(_CachedStorage):
    """Optuna's cache of finished trials, which here answers more of the questions that follow on each other.

    Between two trials a sweeper, its sampler and its pruner ask for all trials about seven times and for one of them
    three times, nine round trips each. A list of all trials is good for 0.1 s, unless this process creates a trial:
    what it did itself is always in the answer, and so is everything that others did before it created its latest
    trial, which is what keeping a common budget needs.
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
        done = super().set_trial_state_values(trial_id, state, values)
        self._read = (None, 0.0)
        if done:
            ended = datetime.datetime.now() if state.is_finished() else None
            self._amend(trial_id, lambda _: {"state": state, "values": values, "datetime_complete": ended})
        if state.is_finished():
            self._created.discard(trial_id)
        return done

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
        super().set_trial_user_attr(trial_id, key, value)
        self._read = (None, 0.0)
        self._amend(trial_id, lambda trial: {"user_attrs": {**trial.user_attrs, key: value}})

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As Optuna's; the present list is brought up to date."""
        super().set_trial_system_attr(trial_id, key, value)
        self._read = (None, 0.0)
        self._amend(trial_id, lambda trial: {"system_attrs": {**trial.system_attrs, key: value}})

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """As Optuna's; the present list is brought up to date."""
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


def open_database(url: str, attempts: int = 4) -> Database:
    """Open a database, and make Optuna's tables where there are none.

    Raises:
        RuntimeError: the tables are those of another version of Optuna.
    """
    try:
        return Database(RDBStorage(url, engine_kwargs=connect_options(url)))
    except (IntegrityError, ProgrammingError):  # another process makes the same tables at the same time
        if attempts == 1:
            raise
    time.sleep(random.uniform(0.2, 0.6))  # noqa: S311 - to get out of step with the other
    return open_database(url, attempts - 1)
