"""``hydra/sweeper/sampler=auto``: a sampler chosen by space, budget and objectives.

The rules are what ``benchmarks/search.py`` and ``benchmarks/search_front.py`` have measured (docs/search.md). What was
chosen stays with the study: a sweep that goes on with it, and others that join, search by the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rnn_sweep.errors import UserError, near
from rnn_sweep.sweep import samplers
from rnn_sweep.sweep.exhaustive import size
from rnn_sweep.sweep.plan import Plan
from rnn_sweep.sweep.settings import Settings
from rnn_sweep.sweep.space.suggest import Suggester

if TYPE_CHECKING:
    from optuna import Study

ATTR = "auto_sampler"
"""Study attribute: the :class:`Choice` as ``{sampler, why}``."""

MOST_IN_FLIGHT = 16
"""Trials at a time in what was measured."""
START_UP = 5
"""Trials at random before TPE makes a model, trial 0 among them; Optuna's own default is 10."""


@dataclass(frozen=True)
class Choice:
    """A sampler, and why."""

    sampler: Mapping[str, Any]
    """``_target_`` node without a seed."""
    why: str

    @property
    def remark(self) -> str:
        """One line for the user."""
        arguments = [f"{key}={value}" for key, value in self.sampler.items() if key != "_target_"]
        name = str(self.sampler["_target_"]).rpartition(".")[2]
        return f"sampler=auto: {' '.join([name, *arguments])}, {self.why}"


def settled(plan: Plan, study: Study | None) -> Plan:
    """A plan with a sampler in the place of ``auto``: the study's own choice where it has one; others as they are.

    Args:
        plan: of the sweep, also one that was settled before.
        study: that it goes on with; None for a new one.

    Raises:
        UserError: ``auto`` was given an argument that it does not have.
    """
    node = plan.settings.sampler
    if plan.auto is None and not is_auto(node):
        return plan
    if plan.auto is None and (unknown := sorted(set(node) - {"_target_", "seed"})):
        raise UserError(f"hydra.sweeper.sampler.{unknown[0]}: auto has no such argument; {near(unknown[0], ['seed'])}")
    noted = study.user_attrs.get(ATTR) if study is not None else None
    found = choose(plan.suggester, plan.settings) if noted is None else Choice(**noted)
    seed = {} if node.get("seed") is None else {"seed": node["seed"]}
    sampler = {**found.sampler, **seed}
    return replace(plan, settings=replace(plan.settings, sampler=sampler), auto=found)


def note(plan: Plan, study: Study) -> None:
    """Write the choice on the study, where there was one."""
    if plan.auto is not None and ATTR not in study.user_attrs:
        study.set_user_attr(ATTR, {"sampler": dict(plan.auto.sampler), "why": plan.auto.why})


def is_auto(node: Any) -> bool:
    """Whether a sampler's node is that of ``auto``."""
    return isinstance(node, Mapping) and node.get("_target_") == samplers.AUTO


def choose(suggester: Suggester, settings: Settings) -> Choice:
    """The sampler for a search; ``settings.sampler`` is not looked at."""
    params = suggester.space.params.values()
    points = math.prod(size(param.distribution) for param in params) if suggester.extend is None else math.inf
    if points <= settings.n_trials:
        return _made("GridSampler", f"since all of {points:.0f} points are among {settings.n_trials} trials")
    why = f"which was ahead with one objective and up to {MOST_IN_FLIGHT} trials in flight"
    if suggester.conditions or suggester.extend is not None:
        why = "which models parameters that only some trials have"
    if len(settings.directions) > 1:
        why = f"which was ahead with {len(settings.directions)} objectives"
    return _made("TPESampler", why, n_startup_trials=START_UP)


def _made(name: str, why: str, **arguments: Any) -> Choice:
    return Choice({"_target_": f"optuna.samplers.{name}", **arguments}, why)
