"""Calls that are made again, on a storage whose connection fails as told."""

from __future__ import annotations

from collections.abc import Callable

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError, ProgrammingError

from rnn_sweep.errors import UserError
from rnn_sweep.storage import retry

URL = "postgresql://me:s3cret@host/db"


class Shaky(InMemoryStorage):
    """Raises what is in ``errors``, before or after the call has had its effect."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[Exception] = []
        self.after = False

    def set_trial_state_values(self, *args: object, **kwargs: object) -> bool:
        return self._shaken(lambda: super(Shaky, self).set_trial_state_values(*args, **kwargs))

    def _shaken(self, call: Callable[[], bool]) -> bool:
        done = call() if self.after or not self.errors else False
        if self.errors:
            raise self.errors.pop(0)
        return done


def lost(text: str = "server closed the connection, s3cret") -> Exception:
    error = StorageInternalError("An exception is raised during the commit.")
    error.__cause__ = OperationalError("SELECT 1", {}, Exception(text))
    return error


@pytest.fixture
def shaky(monkeypatch: pytest.MonkeyPatch) -> Shaky:
    monkeypatch.setattr(retry, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.001)
    return Shaky()


@pytest.mark.parametrize("after", [False, True])
def test_a_result_is_told_once_whether_the_call_or_its_answer_was_lost(shaky: Shaky, after: bool) -> None:
    study = optuna.create_study(storage=retry.patient(shaky, URL))
    trial = study.ask()
    shaky.errors, shaky.after = [lost(), lost()] if not after else [lost()], after
    study.tell(trial, 1.0)
    assert study.trials[0].state is TrialState.COMPLETE
    assert not shaky.errors


def test_patience_ends_with_one_message_without_the_password(shaky: Shaky) -> None:
    study = optuna.create_study(storage=retry.patient(shaky, URL))
    trial = study.ask()
    shaky.errors = [lost() for _ in range(1000)]
    with pytest.raises(UserError, match=r"hydra.sweeper.storage=postgresql://me@host/db was lost") as caught:
        study.tell(trial, 1.0)
    assert "s3cret" not in str(caught.value)
    left = len(shaky.errors)
    with pytest.raises(UserError):
        study._storage.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, [1.0])
    assert left - len(shaky.errors) == 1, "given up: no second wait"


def test_a_mistake_is_not_tried_again(shaky: Shaky) -> None:
    study = optuna.create_study(storage=retry.patient(shaky, URL))
    trial = study.ask()
    shaky.errors = [ProgrammingError("SELECT", {}, Exception("no such table")), lost()]
    with pytest.raises(ProgrammingError):
        study.tell(trial, 1.0)
    assert len(shaky.errors) == 1
