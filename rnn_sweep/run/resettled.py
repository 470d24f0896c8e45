"""States of kept torch optimisers and schedules, taken into a run whose settings have changed since they were saved.

``load_state_dict`` would bring the old settings back with the state. Here what an optimiser has learnt (moments, step
counts) comes from the checkpoint and what it was told (rate, weight decay, betas) from the run's configuration. Where a
schedule has moved the rate, the new rate is moved by the same factor.
"""

from __future__ import annotations

import sys
from typing import Any


def while_built(thing: Any, state: Any) -> Any:
    """The state to load into a thing when it is kept: a schedule that is made later reads its optimiser's rate."""
    if _is_optimizer(thing):
        return {**state, "param_groups": thing.state_dict()["param_groups"]}
    if _is_schedule(thing):
        own = thing.state_dict()
        return {**state, **{key: own[key] for key in _GIVEN & own.keys()}}
    return state


def once_built(thing: Any, state: Any) -> Any:
    """The state to load when the loop begins, everything having been made."""
    if not _is_optimizer(thing):
        return while_built(thing, state)
    groups = thing.state_dict()["param_groups"]
    pairs = zip(groups, state["param_groups"], strict=False)
    return {**state, "param_groups": [_moved(own, before) for own, before in pairs]}


_GIVEN = {"base_lrs"}
"""What a schedule has from its optimiser."""


def _moved(own: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Settings of a group of parameters, its rate moved as far as it was moved from where a schedule began."""
    first = before.get("initial_lr")
    if not first:
        return own
    return {**own, "lr": own.get("initial_lr", own["lr"]) * before["lr"] / first}


def _is_optimizer(thing: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(thing, torch.optim.Optimizer)


def _is_schedule(thing: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(thing, torch.optim.lr_scheduler.LRScheduler)
