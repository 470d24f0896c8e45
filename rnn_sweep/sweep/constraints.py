"""Constraints on outcomes, such as ``parameters <= 100000``. Pure but for the note on the trial."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnn_sweep.errors import UserError

if TYPE_CHECKING:
    from optuna import Trial

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

    def record(self, trial: Trial, metrics: Mapping[str, float]) -> None:
        """Put the constraint's value on the trial, for the sampler and for the choice of the best one."""
        value = metrics.get(self.metric)
        if value is None:
            noted = trial.storage.get_trial(trial._trial_id).user_attrs.get(self.metric)
            value = noted if isinstance(noted, int | float) else None
        excess = float("inf") if value is None or value != value else self.excess(value)
        trial.set_constraint(self.text, excess)


def parse_constraints(lines: Sequence[str]) -> list[Constraint]:
    """Read ``metric <= number`` and ``metric >= number``.

    Raises:
        UserError: another form.
    """
    result = []
    for line in lines:
        found = _FORM.fullmatch(line)
        if found is None:
            raise UserError(f"hydra.sweeper.constraints: must look like 'seconds <= 60', got {line!r}")
        metric, relation, bound = found.groups()
        result.append(Constraint(metric, 1 if relation == "<=" else -1, float(bound), line.strip()))
    return result
