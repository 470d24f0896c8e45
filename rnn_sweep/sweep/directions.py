"""Directions: whether to minimize or maximize, where ``hydra.sweeper.direction`` does not say. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rnn_sweep.errors import UserError
from rnn_sweep.outcome import direction


def derived(names: Sequence[str] | None) -> tuple[tuple[str, ...], list[str]]:
    """A direction for each objective by its name; to minimize where that does not tell, or there is none.

    Returns:
        The directions, and what to tell the user of a choice that nobody made.
    """
    if names is None:
        return ("minimize",), ["hydra.sweeper.direction is not set: less is better (maximize for an accuracy)"]
    found = tuple(direction(name) or "minimize" for name in names)
    told = ", ".join(f"{way} {name}" for way, name in zip(found, names, strict=True))
    return found, [f"searching to {told} (hydra.sweeper.direction)"]


def check_objectives(directions: Sequence[str], names: Sequence[str] | None) -> None:
    """Check that there is a direction for each objective that the application names.

    Raises:
        UserError: there are more or fewer.
    """
    if names is not None and len(names) != len(directions):
        rule = f"must have one direction for each objective ({', '.join(names)}), or be null"
        raise UserError(f"hydra.sweeper.direction {rule}; got {', '.join(directions)}")
