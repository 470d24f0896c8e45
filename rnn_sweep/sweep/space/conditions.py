"""Conditional spaces: a parameter that exists only where others have certain values. Pure.

``hydra.sweeper.conditions`` maps a parameter to one override-like condition, or to a list of which all must
hold::

    conditions:
      optimizer.momentum: optimizer=sgd
      model.dropout: [model.layers=range(2,9), "model.cell=lstm,gru"]

The left side is a key of the space, of the fixed overrides or of the application's configuration; the right
side is the set of its values in the grammar of the space: one value, a choice, a range or an interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnn_sweep.errors import UserError, near
from rnn_sweep.sweep.space.grammar import parse_override, read
from rnn_sweep.sweep.space.parameters import Param, Space, bare


@dataclass(frozen=True)
class Condition:
    """``key`` has one of certain values."""

    key: str
    text: str
    """As the user wrote it."""
    allows: Callable[[Any], bool]


def parse_conditions(node: Mapping[str, Any], space: Space) -> dict[str, list[Condition]]:
    """Read the conditions by the key of the parameter that they are for, as it is named in the space.

    Raises:
        UserError: a condition on an unknown parameter, or one that is not an override.
    """
    keys = {bare(key): key for key in space.params}
    result = {}
    for name, written in node.items():
        if bare(name) not in keys:
            if any(bare(line).partition("=")[0] == bare(name) for line in space.fixed):
                continue  # fixed on the command line: there is nothing left to condition
            raise UserError(f"hydra.sweeper.conditions: {name!r} is not searched; {near(bare(name), keys)}")
        lines = written if isinstance(written, Sequence) and not isinstance(written, str) else [written]
        result[keys[bare(name)]] = [_condition(name, str(line)) for line in lines]
    return result


def _condition(name: str, line: str) -> Condition:
    if "=" not in line or line.startswith("~"):
        raise UserError(f"hydra.sweeper.conditions.{name} must look like key=value, got {line!r}")
    override, entry = parse_override(line), read(line)
    key = bare(override.get_key_element())
    if isinstance(entry, str):
        wanted = override.value()
        return Condition(key, line, lambda value: bool(value == wanted))
    return Condition(key, line, _membership(entry))


def _membership(param: Param) -> Callable[[Any], bool]:
    from optuna.distributions import CategoricalDistribution

    dist: Any = param.distribution
    if isinstance(dist, CategoricalDistribution):
        return lambda value: value in dist.choices
    return param.contains


def ordered(space: Space, conditions: Mapping[str, Sequence[Condition]]) -> list[Param]:
    """The parameters in an order in which each comes after those that it depends on, else as written.

    Raises:
        UserError: they depend on each other in a circle.
    """
    by_name = {bare(key): param for key, param in space.params.items()}
    done: dict[str, Param] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in done or name not in by_name:
            return
        if name in path:
            raise UserError(f"hydra.sweeper.conditions go in a circle: {' -> '.join((*path, name))}")
        for condition in conditions.get(by_name[name].key, ()):
            visit(condition.key, (*path, name))
        done[name] = by_name[name]

    for name in by_name:
        visit(name, ())
    return list(done.values())


def active(
    param: Param,
    conditions: Mapping[str, Sequence[Condition]],
    chosen: Mapping[str, Any],
    default: Callable[[str], Any],
) -> bool:
    """Whether ``param`` exists in a trial.

    Args:
        param: the parameter.
        conditions: all conditions.
        chosen: the trial's values so far by bare key; a parameter left out by its own condition is not there.
        default: the value that the application's configuration has for a bare key.
    """
    checks = conditions.get(param.key, ())
    return all(c.allows(chosen[c.key] if c.key in chosen else default(c.key)) for c in checks)
