"""Numbers of a search space: Hydra's ranges and intervals, and Optuna's distributions spelt out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rnn_sweep.errors import UserError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import RangeSweep
    from optuna.distributions import BaseDistribution


def stepped(key: str, sweep: RangeSweep, log: bool) -> BaseDistribution:
    """The distribution of ``range(start,stop,step)``, which excludes its stop.

    Raises:
        UserError: it is empty, or cannot be logarithmic.
    """
    start, stop, step = map(_exact, (sweep.start, sweep.stop, sweep.step))
    count = math.ceil((stop - start) / step) if step else 0
    if count <= 0:
        shown = f"range({sweep.start},{sweep.stop},{sweep.step})"
        raise UserError(f"{key}: a range needs at least one value and excludes its stop, got {shown}")
    low, high = sorted((start, start + (count - 1) * step))
    whole = all(isinstance(v, int) for v in (sweep.start, sweep.stop, sweep.step))
    convert: Any = int if whole else float
    if log and not (whole and abs(step) == 1):
        raise UserError(f"{key}: tag(log, range(…)) needs integers and step 1; got step {sweep.step}")
    return interval(key, convert(low), convert(high), None if log else convert(abs(step)), log)


def _exact(value: Any) -> Decimal:
    """A number as it was typed: a range that Hydra has turned around begins at 0.09999999999999998 in place of 0.1."""
    return Decimal(str(value)) if isinstance(value, int) else Decimal(f"{value:.15g}")


MOST_VALUES = 10_000
"""Of a range whose values are cast one by one."""


def enumerated(key: str, values: Iterable[Any]) -> list[Any]:
    """Different numbers in ascending order.

    Raises:
        UserError: there are none, or too many.
    """
    found = list(itertools.islice(values, MOST_VALUES + 1))
    if not 0 < len(found) <= MOST_VALUES:
        rule = f"a range that is cast needs 1 to {MOST_VALUES:,} values"
        raise UserError(f"{key}: {rule}, got {len(found) if not found else 'more'}")
    return sorted(set(found))


def common_step(values: Sequence[Any]) -> Any:
    """The distance between neighbours where it is the same for all; None where it is not, and for a single value."""
    exact = [Decimal(str(value)) for value in values]
    steps = {b - a for a, b in itertools.pairwise(exact)}
    if len(steps) != 1:
        return None
    return type(values[0])(steps.pop())


def interval(key: str, low: Any, high: Any, step: Any, log: bool) -> BaseDistribution:
    """The distribution from ``low`` to ``high``, both included; integers where both are.

    Raises:
        UserError: the ends are not finite or in the wrong order, or the scale does not fit them.
    """
    from optuna.distributions import FloatDistribution, IntDistribution

    if not (math.isfinite(low) and math.isfinite(high)):
        raise UserError(f"{key}: both ends of an interval must be finite, got {low} and {high}")
    if low > high:
        raise UserError(f"{key}: the lower end must not exceed the upper one, got {low} and {high}")
    if log and low <= 0:
        raise UserError(f"{key}: a logarithmic scale needs a lower end above 0, got {low}")
    try:
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=log, step=step or 1)
        return FloatDistribution(float(low), float(high), log=log, step=step)
    except ValueError as error:
        raise UserError(f"{key}: {error}") from None


def explicit(key: str, node: Mapping[str, Any]) -> BaseDistribution:
    """The distribution of ``{type: int|float, low, high, step, log}``.

    Both ends are included, as in Optuna; where no step ends on the upper one, the last step before it is the end.

    Raises:
        UserError: a value is missing or of another kind, or they do not fit each other.
    """
    kind, log = node["type"], node.get("log", False)
    if kind not in ("int", "float") or node.get("low") is None or node.get("high") is None:
        rule = "type is int or float (with low and high) or categorical (with choices)"
        raise UserError(f"hydra.sweeper.params.{key}: {rule}, got {dict(node)}")
    if not isinstance(log, bool):
        raise UserError(f"hydra.sweeper.params.{key}.log must be true or false, got {log!r}")
    low, high = (_number(f"{key}.{name}", node[name], kind) for name in ("low", "high"))
    if node.get("step") is None:
        return interval(key, low, high, None, log)
    step = _number(f"{key}.step", node["step"], kind)
    if step <= 0:
        raise UserError(f"hydra.sweeper.params.{key}.step must be above 0, got {step!r}")
    first, width = Decimal(str(low)), Decimal(str(step))
    last = first + (Decimal(str(high)) - first) // width * width
    return interval(key, low, type(low)(last) if low <= high else high, step, log)


def _number(name: str, value: object, kind: str) -> Any:
    """``value`` as a number of the kind ``int`` or ``float``; integers pass as floats."""
    if isinstance(value, bool) or not isinstance(value, int if kind == "int" else int | float):
        words = "an integer" if kind == "int" else "a number"
        raise UserError(f"hydra.sweeper.params.{name} must be {words}, got {value!r}")
    if not abs(value) <= 2**63:
        raise UserError(f"hydra.sweeper.params.{name} must be finite, and at most 2^63, got {value!r}")
    return value if kind == "int" else float(value)
