"""Optuna's tables, read and written in few statements.

Optuna reads the trials of a study by seven statements, and writes each parameter and note by two in a transaction of
its own. The tables are the same for all versions that take this one's; Optuna checks that when it opens a database.
"""

from __future__ import annotations

import functools
import json
import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy import Connection, Engine, String, bindparam, cast, insert, literal_column, null, or_, select, union_all
from sqlalchemy.orm import Session

CHUNK = 500
"""Trials that one statement asks for, as in Optuna: databases limit the parameters of a statement."""

_ODD = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}
"""Numbers that a column does not hold, by the names of Optuna's kinds."""

_Details = Mapping[str, Sequence[Any]]
"""The rows of one trial by table: ``(own id, name, text, number)``."""


@dataclass
class Notes:
    """What is to be written about one trial."""

    params: dict[str, tuple[float, BaseDistribution]] = field(default_factory=dict)
    """In Optuna's internal representation."""
    user_attrs: dict[str, Any] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)


def read_trials(engine: Engine, study_id: int, ids: Collection[int], after: int) -> list[FrozenTrial]:
    """The trials of a study with one of these ids or a higher one than ``after``, in the order of their ids."""
    trial: Any = models.TrialModel
    wanted = or_(trial.trial_id.in_(sorted(ids)), trial.trial_id > after) if ids else trial.trial_id > after
    query = select(trial).where(trial.study_id == study_id, wanted).order_by(trial.trial_id)
    trials = []
    with Session(engine) as session:
        connection = session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        heads = session.scalars(query).all()
        for first in range(0, len(heads), CHUNK):
            chunk = heads[first : first + CHUNK]
            details = _details(connection, [head.trial_id for head in chunk])
            trials += [_trial(head, details[head.trial_id]) for head in chunk]
    return trials


def write_notes(engine: Engine, trial_id: int, notes: Notes) -> None:
    """Write what is new about a trial, in one transaction.

    Raises:
        sqlalchemy.exc.IntegrityError: some of it is there already; nothing was written.
    """
    key = {"trial_id": trial_id}
    rows: dict[Any, list[dict[str, Any]]] = {
        models.TrialParamModel: [
            {**key, "param_name": name, "param_value": value, "distribution_json": distribution_to_json(dist)}
            for name, (value, dist) in notes.params.items()
        ],
        models.TrialUserAttributeModel: [{**key, **_attr(*item)} for item in notes.user_attrs.items()],
        models.TrialSystemAttributeModel: [{**key, **_attr(*item)} for item in notes.system_attrs.items()],
    }
    with engine.begin() as connection:
        for model, new in rows.items():
            if new:
                connection.execute(insert(model), new)


def _attr(key: str, value: Any) -> dict[str, str]:
    return {"key": key, "value_json": json.dumps(value)}


@functools.cache
def _query() -> Any:
    """What five tables hold of some trials: ``(table, trial, own id, name, text, number)``."""
    param, value, step = models.TrialParamModel, models.TrialValueModel, models.TrialIntermediateValueModel
    user, system = models.TrialUserAttributeModel, models.TrialSystemAttributeModel
    sources: dict[str, tuple[Any, ...]] = {
        "params": (param, param.param_id, param.param_name, param.distribution_json, param.param_value),
        "user_attrs": (user, user.trial_user_attribute_id, user.key, user.value_json, null()),
        "system_attrs": (system, system.trial_system_attribute_id, system.key, system.value_json, null()),
        "values": (value, value.trial_value_id, value.objective, value.value_type, value.value),
        "steps": (
            step,
            step.trial_intermediate_value_id,
            step.step,
            step.intermediate_value_type,
            step.intermediate_value,
        ),
    }
    numbered = {value, step}
    return union_all(
        *(
            select(
                literal_column(f"'{table}'", String),
                model.trial_id,
                own_id,
                cast(name, String) if model in numbered else name,
                cast(text, String) if model in numbered else text,
                number,
            ).where(model.trial_id.in_(bindparam("ids", expanding=True)))
            for table, (model, own_id, name, text, number) in sources.items()
        )
    )


def _details(connection: Connection, ids: Sequence[int]) -> Mapping[int, _Details]:
    found: dict[int, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for table, trial_id, *row in connection.execute(_query(), {"ids": ids}):
        found[trial_id][table].append(row)
    return found


def _trial(head: Any, details: _Details) -> FrozenTrial:
    params = {name: (_distribution(text), number) for _, name, text, number in sorted(details["params"])}
    user, system = (
        {name: json.loads(text) for _, name, text, _ in details[table]} for table in ("user_attrs", "system_attrs")
    )
    numbers = {
        table: {int(name): _ODD.get(kind, number) for _, name, kind, number in details[table]}
        for table in ("values", "steps")
    }
    return FrozenTrial(
        number=head.number,
        state=head.state,
        value=None,
        values=[numbers["values"][i] for i in sorted(numbers["values"])] or None,
        datetime_start=head.datetime_start,
        datetime_complete=head.datetime_complete,
        params={name: dist.to_external_repr(number) for name, (dist, number) in params.items()},
        distributions={name: dist for name, (dist, _) in params.items()},
        user_attrs=user,
        system_attrs=system,
        intermediate_values=numbers["steps"],
        trial_id=head.trial_id,
    )


@functools.lru_cache(maxsize=4096)
def _distribution(text: str) -> BaseDistribution:
    """Of all trials the same object: nobody changes one."""
    return json_to_distribution(text)
