"""Constraints on outcomes, such as ``parameters <= 100000``. Pure but for the note on the trial."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnn_sweep.errors import UserError, near
from rnn_sweep.storage.identifiers import id_of_trial

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

_FORM = re.compile(r"\s*(\S+?)\s*(<=|>=)\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*")


@dataclass(frozen=True)
class Constraint:
    """A metric (or a number that the job noted) and its bound; a trial without it is not feasible."""

    metric: str
    sign: int
    """1 for ``<=``, -1 for ``>=``."""
    bound: float
    text: str

    def excess(self, value: float) -> float:
        """How far ``value`` is beyond the bound; 0 or less where the constraint holds."""
        return self.sign * (value - self.bound)

    def record(self, trial: Trial, shown: Mapping[str, float]) -> None:
        """Put the constraint's value on the trial, for the sampler and for the choice of the best one."""
        value = shown.get(self.metric)
        excess = float("inf") if value is None or value != value else self.excess(value)
        trial.set_constraint(self.text, excess)


def required(trials: Iterable[FrozenTrial]) -> frozenset[str]:
    """The constraints that any of the trials was measured by: a trial has to meet them all."""
    return frozenset().union(*(t.constraints for t in trials))


def feasible(trial: FrozenTrial, names: Iterable[str]) -> bool:
    """Whether a trial has a value for each of these constraints, and meets it: no value is not a good value."""
    known = trial.constraints
    return all(known.get(name, math.inf) <= 0 for name in names)


def shown(trial: Trial, metrics: Mapping[str, float]) -> dict[str, float]:
    """What constraints may speak of: the ``metrics`` of a job's outcome, and the numbers that it noted."""
    noted = trial.storage.get_trial(id_of_trial(trial)).user_attrs
    return {**{key: value for key, value in noted.items() if isinstance(value, int | float)}, **metrics}


def check_metrics(constraints: Sequence[Constraint], known: Collection[str]) -> None:
    """Check that constraints speak of ``known`` metrics.

    Raises:
        UserError: one does not.
    """
    for each in constraints:
        if each.metric not in known:
            what = near(each.metric, known) if known else "the jobs return none; they may note numbers"
            raise UserError(f"hydra.sweeper.constraints: {each.text!r}: no trial has {each.metric!r}; {what}")


def mistake(constraints: Sequence[Constraint], trials: Iterable[FrozenTrial], shown: Mapping[str, float]) -> str | None:
    """What is wrong with a constraint that no trial has a value for, nor a complete one that has ``shown`` these."""
    met = {text for t in trials for text, value in t.constraints.items() if math.isfinite(value)}
    try:
        check_metrics([each for each in constraints if each.text not in met], shown)
    except UserError as error:
        return str(error)
    return None


def parse_constraints(lines: Sequence[str]) -> list[Constraint]:
    """Read ``metric <= number`` and ``metric >= number``.

    Raises:
        UserError: another form.
    """
    result = []
    for line in lines:
        found = _FORM.fullmatch(line)
        if found is None:
            raise _malformed(line)
        metric, relation, bound = found.groups()
        limit = _bound(bound, line)
        text = f"{metric} {relation} {limit:.12g}"  # however it was typed, one constraint has one name
        result.append(Constraint(metric, 1 if relation == "<=" else -1, limit, text))
    return sorted(result, key=lambda constraint: constraint.text)  # samplers go by the order on the trials


def _bound(text: str, line: str) -> float:
    try:
        value = float(text)
    except ValueError:  # 1.2.3
        raise _malformed(line) from None
    if not math.isfinite(value):
        raise _malformed(line)
    return value


def _malformed(line: str) -> UserError:
    return UserError(f"hydra.sweeper.constraints: must look like 'seconds <= 60', got {line!r}")
