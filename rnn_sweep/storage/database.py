"""SQL databases, with no more questions than a sweep needs answered."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

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
    three times, six queries each. A list of all trials is good for 0.1 s, unless this process creates or tells a trial:
    what it did itself is always in the answer, and so is everything that others did before that, which is what
    keeping a common budget needs.
    """

    def __init__(self, backend: RDBStorage) -> None:
        super().__init__(backend)
        self._changes = 0
        self._latest = (-1, -1, 0.0)
        """Of the latest list: its study, how many changes it has seen, and until when it is good."""
        self._created: FrozenTrial | None = None
        """The trial that was just created, until it is first asked for."""
        self._told = -1
        """The id of the trial that was told last."""

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """As Optuna's; the next list is read anew, and the trial itself need not be read."""
        try:
            trial_id = super().create_new_trial(study_id, template_trial)
        finally:
            self._changes += 1
        self._created = self._studies[study_id].trials[self._trial_id_to_study_id_and_number[trial_id][1]]
        return trial_id

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """As Optuna's; the next list is read anew."""
        try:
            return super().set_trial_state_values(trial_id, state, values)
        finally:
            self._changes += 1
            if state.is_finished() and trial_id in self._trial_id_to_study_id_and_number:
                self._told = trial_id

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """As Optuna's; a trial that this thread has just created is known, one that it told is in the next list."""
        created, self._created = self._created, None
        if created is not None and created._trial_id == trial_id:
            return copy.deepcopy(created)
        if trial_id == self._told:
            self._read_trials_from_remote_storage(self._trial_id_to_study_id_and_number[trial_id][0])
        return super().get_trial(trial_id)

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        changes, now = self._changes, time.monotonic()
        if self._latest[:2] == (study_id, changes) and now < self._latest[2]:
            return
        super()._read_trials_from_remote_storage(study_id)
        self._latest = (study_id, changes, now + REUSE_SECONDS)


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
