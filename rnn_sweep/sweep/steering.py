"""Orders to a study whose trials run: who gave which when. Written by ``rnn-sweep``, obeyed by every sweeper.

An order is a study attribute of its own, so that of two people who steer at once nobody's order is lost. Orders have
turns, and each is given after those that its giver has seen: clocks of different machines decide nothing.
"""

from __future__ import annotations

import datetime
import getpass
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnn_sweep.storage.identifiers import id_of_study, storage_of

if TYPE_CHECKING:
    from optuna import Study

PREFIX = "order:"
"""Of the study attributes that are orders; ``turn:id`` follows, so that the names sort in the order of the turns."""

LOOK_SECONDS = 0.5
"""Between two looks of a sweeper for orders."""

PAUSE, CONTINUE, STOP, ADD, EXTEND, WORKERS = "pause", "continue", "stop", "add", "extend", "workers"


@dataclass(frozen=True)
class Order:
    """One order."""

    key: str
    """The study attribute."""
    what: str
    """``pause``, ``continue``, ``stop``, ``add``, ``extend`` or ``workers``."""
    by: str
    """``user@host``."""
    at: str
    """When by the giver's clock, ISO 8601."""
    detail: Mapping[str, Any]
    """Of ``stop`` the ``trial``; of ``add`` ``params`` and ``trial``; of ``extend`` ``trials`` and the ``budget`` that
    they are added to; of ``workers`` ``jobs`` and the ids of the ``sweepers`` that are to have so many in flight."""

    @property
    def time(self) -> str:
        """When, to read."""
        return self.at[:19].replace("T", " ")

    @property
    def giver(self) -> str:
        """Who and when, to read."""
        return f"{self.by} at {self.time}"


def give(study: Study, what: str, **detail: Any) -> Order:
    """Record an order; whoever works on the study finds it within a second."""
    known = orders(study)
    turn = int(known[-1].key.split(":")[1]) + 1 if known else 0
    now = datetime.datetime.now().astimezone()
    order = Order(f"{PREFIX}{turn:06d}:{secrets.token_hex(4)}", what, giver(), now.isoformat(), detail)
    study.set_user_attr(order.key, {"what": what, "by": order.by, "at": order.at, **detail})
    return order


def giver() -> str:
    """Who gives orders here."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "somebody"
    return f"{user}@{socket.gethostname()}"


def orders(study: Study) -> list[Order]:
    """All orders to a study, the earliest first."""
    return read(attributes(study))


def attributes(study: Study) -> Mapping[str, Any]:
    """The study's user attributes, to be read only: Optuna's own way copies them all."""
    found: Mapping[str, Any] = storage_of(study).get_study_user_attrs(id_of_study(study))
    return found


def read(attrs: Mapping[str, Any]) -> list[Order]:
    """The orders among a study's attributes, the earliest first."""
    found = []
    for key in sorted(key for key in attrs if key.startswith(PREFIX)):
        rest = dict(attrs[key])
        found.append(Order(key, str(rest.pop("what")), str(rest.pop("by")), str(rest.pop("at")), rest))
    return found


def pause(given: Sequence[Order]) -> Order | None:
    """The order by which the study is paused; None while it is not."""
    last = next((order for order in reversed(given) if order.what in (PAUSE, CONTINUE)), None)
    return last if last is not None and last.what == PAUSE else None


def budget(n_trials: int, given: Sequence[Order]) -> int:
    """How many trials the study is to have in total.

    An extension adds to the budget that its giver saw, or to a larger one that another has made of it meanwhile; a
    larger ``n_trials`` of a later sweeper stands.
    """
    total = 0
    for order in given:
        if order.what == EXTEND:
            total = max(total, int(order.detail["budget"])) + int(order.detail["trials"])
    return max(n_trials, total)


def jobs(sweeper: str, given: Sequence[Order]) -> int | None:
    """How many trials a sweeper is to have in flight; None where nobody has said."""
    told = [order for order in given if order.what == WORKERS and sweeper in order.detail["sweepers"]]
    return int(told[-1].detail["jobs"]) if told else None


def words(order: Order) -> str:
    """An order to read, such as ``5 more trials``."""
    detail = order.detail
    if order.what == STOP:
        return f"stop trial {detail['trial']}"
    if order.what == ADD:
        point = " ".join(f"{key}={value}" for key, value in detail["params"].items())
        return f"add {point} as trial {detail['trial']}"
    if order.what == EXTEND:
        return f"{detail['trials']} more trial{'' if detail['trials'] == 1 else 's'}"
    if order.what == WORKERS:
        who = ", ".join(detail["sweepers"])
        return f"{detail['jobs']} trial{'' if detail['jobs'] == 1 else 's'} at a time by sweeper {who}"
    return order.what


class Received:
    """The orders to a study as one of its sweepers knows them.

    Args:
        study: the study.
        sweeper: the sweeper's id.
        n_trials: the budget that the sweeper was started with.
    """

    def __init__(self, study: Study, sweeper: str, n_trials: int) -> None:
        self._study, self._sweeper, self._n_trials = study, sweeper, n_trials
        self._given = orders(study)
        self._looked = time.monotonic()

    def look(self, *, now: bool = False) -> list[Order]:
        """Look for orders, where that was not done just before or ``now``; returns those that are new."""
        if not now and time.monotonic() - self._looked < LOOK_SECONDS:
            return []
        known = {order.key for order in self._given}
        self._given = orders(self._study)
        self._looked = time.monotonic()
        return [order for order in self._given if order.key not in known]

    @property
    def paused(self) -> Order | None:
        """The order by which the study is paused; None while it is not."""
        return pause(self._given)

    @property
    def budget(self) -> int:
        """How many trials the study is to have in total."""
        return budget(self._n_trials, self._given)

    @property
    def jobs(self) -> int | None:
        """How many trials this sweeper is to have in flight; None where nobody has said."""
        return jobs(self._sweeper, self._given)
