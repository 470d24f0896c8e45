"""Retries with exponential backoff: a storage that outlasts a short break of the network.

A database that restarts, a proxy that moves, a cable that is pulled for a moment: the call is made again, with
growing pauses, until it succeeds or :data:`PATIENCE_SECONDS` are over. All calls of an Optuna storage can be made
twice. Only the creation of a trial whose answer got lost leaves something: a trial without an owner, which the
sweepers on the study clear away as they do those of a dead sweeper.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage

from rnn_sweep.errors import UserError
from rnn_sweep.redaction import masked, one_line

PATIENCE_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0

# By name, because the packages may be absent.
_BREAKS = {
    # The last one: Optuna goes on with a session whose connection has just broken.
    "sqlalchemy.exc": {"OperationalError", "InterfaceError", "PendingRollbackError"},
    "redis.exceptions": {"ConnectionError", "TimeoutError", "BusyLoadingError"},
}
_GRPC_BREAKS = {"UNAVAILABLE", "DEADLINE_EXCEEDED"}


def is_break(error: BaseException | None) -> bool:
    """Whether ``error`` comes from the way to the storage, or from a storage that is not ready, and may pass."""
    if error is None:
        return False
    code = getattr(error, "code", None)
    if type(error).__module__.startswith("grpc") and callable(code):
        return code().name in _GRPC_BREAKS
    named = any(kind.__name__ in _BREAKS.get(kind.__module__, ()) for kind in type(error).__mro__)
    return named or is_break(error.__cause__)  # Optuna wraps errors of the database


class _Patience:
    """What all calls of one storage share."""

    def __init__(self, storage: BaseStorage, url: str) -> None:
        self.storage, self._url = storage, url
        self._lost = False
        """Given up once: until a call succeeds, each is tried once."""

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the storage, again and again while the network is away.

        Raises:
            UserError: it was away for too long.
        """
        began, pause = time.monotonic(), FIRST_PAUSE_SECONDS
        again = False
        while True:
            try:
                result = getattr(self.storage, name)(*args, **kwargs)
            except UpdateFinishedTrialError:
                if again and name == "set_trial_state_values" and self._was_told(*args, **kwargs):
                    return True
                raise
            except Exception as error:
                if not is_break(error):
                    raise
                if self._lost or time.monotonic() - began + pause > PATIENCE_SECONDS:
                    self._lost = True
                    raise UserError(_message(self._url, error)) from error
            else:
                self._lost = False
                return result
            again = True
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - so that many do not come back at once
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _was_told(self, trial_id: int, state: Any, values: Any = None) -> bool:
        """Whether the call before got through and only its answer was lost."""
        return bool(self.storage.get_trial(trial_id).state == state)


def _message(url: str, error: BaseException) -> str:
    driver = getattr(error.__cause__ or error, "orig", None) or error
    reason = one_line(str(driver), url)
    return f"hydra.sweeper.storage={masked(url)} was lost for more than {PATIENCE_SECONDS:.0f} s: {reason}"


def patient(storage: BaseStorage, url: str) -> BaseStorage:
    """``storage``, with every call made patiently; ``url`` is named when patience ends."""
    result: BaseStorage = _PatientStorage(_Patience(storage, url))
    return result


def _method(name: str) -> Callable[..., Any]:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self._patience.call(name, *args, **kwargs)

    return call


def _init(self: Any, patience: _Patience) -> None:
    self._patience = patience


_CALLS = [name for name, member in vars(BaseStorage).items() if callable(member) and not name.startswith("_")]
_PatientStorage: Any = type(
    "PatientStorage", (BaseStorage,), {"__init__": _init, **{name: _method(name) for name in _CALLS}}
)
