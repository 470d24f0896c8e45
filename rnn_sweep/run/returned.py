"""From what a training function returned and logged to the run's outcome."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnn_sweep.errors import UserError, near
from rnn_sweep.outcome import Outcome, State


def number(what: str, value: Any) -> float:
    """A metric as a float: a Python number, or an array or tensor of one element. Raises :class:`UserError`."""
    try:
        if isinstance(value, str | bytes | Mapping | Sequence):
            raise TypeError
        return float(value.item() if hasattr(value, "item") else value)  # of a tensor that needs a gradient, too
    except (TypeError, ValueError, RuntimeError):
        raise UserError(f"{what} must be one number, got {value!r:.100}") from None


@dataclass(frozen=True)
class Ended:
    """What a run has behind it when its function returns."""

    history: Sequence[Mapping[str, float]]
    """Metrics of each epoch."""
    final: Mapping[str, float]
    """Metrics logged outside of epochs."""
    state: State | None
    """How the loop over epochs ended, where it ended early."""
    cause: str | None
    seconds: float
    """In epochs."""


def outcome_of(returned: Any, objective: Sequence[str], ended: Ended, *, required: bool) -> Outcome:
    """The outcome of a function that has returned.

    Args:
        returned: a number, several, a mapping of metrics, an :class:`Outcome`, or None.
        objective: metrics that a sweep optimises; where they were not returned they are read from what was logged.
        ended: what was logged, and how the loop ended.
        required: whether a sweep waits for values.

    Raises:
        UserError: what was returned is none of these, or a sweep's objective was neither returned nor logged.
    """
    if isinstance(returned, Outcome):
        return returned
    metrics: dict[str, float] = {}
    for row in (*ended.history, ended.final):
        metrics.update(row)
    values = _returned(returned, metrics)
    if values is None:
        values = _logged(objective, metrics, required=required and ended.state is None)
    else:
        metrics.update(zip(objective if len(objective) == len(values) else ("objective",), values, strict=False))
    state, cause = ended.state or State.COMPLETE, ended.cause
    finite = all(math.isfinite(value) for value in values)
    if not finite and ended.state is None:
        state, cause = State.DIVERGED, f"{', '.join(objective) or 'what the function returned'} is NaN or infinite"
    return Outcome(
        state=state,
        values=values if finite else (),
        metrics=metrics,
        history=tuple(ended.history),
        epochs=len(ended.history),
        seconds=ended.seconds,
        cause=cause,
    )


def _returned(returned: Any, metrics: dict[str, float]) -> tuple[float, ...] | None:
    """The values that a function returned, or None; a mapping goes into ``metrics``."""
    if isinstance(returned, Mapping):
        metrics.update({str(name): number(f"the returned {name}", value) for name, value in returned.items()})
        return None
    if isinstance(returned, list | tuple):
        return tuple(number("each value that is returned", value) for value in returned)
    if returned is None:
        return None
    rule = "the training function must return a number, several, a mapping of metrics, an Outcome, or nothing"
    return (number(f"{rule}: what it returns", returned),)


def _logged(objective: Sequence[str], metrics: Mapping[str, float], *, required: bool) -> tuple[float, ...]:
    """The objective's last values; none where they are not there and nobody needs them."""
    missing = [name for name in objective if name not in metrics]
    if objective and not missing:
        return tuple(metrics[name] for name in objective)
    if not required:
        return ()
    known = f"logged: {', '.join(metrics)}" if metrics else "nothing was logged"
    if not objective:
        raise UserError(f"objective must name a logged metric where the function returns nothing, got null; {known}")
    hint = near(missing[0], metrics) if metrics else known
    raise UserError(f"objective={missing[0]} was neither logged nor returned; {hint}")
