"""What a sweep notes on its study for those who read it later: command, space, versions, commit."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from rnn_sweep.provenance import source_tags, version_tags
from rnn_sweep.storage import quiet
from rnn_sweep.sweep.hooks import objectives
from rnn_sweep.sweep.plan import Plan
from rnn_sweep.sweep.results import Command

if TYPE_CHECKING:
    from hydra.types import TaskFunction
    from optuna import Study

ATTR = "sweep"
"""Study attribute: the mapping that :func:`note` writes; the latest sweeper's, where several worked on the study."""


def note(study: Study, plan: Plan, task: TaskFunction, command: Command) -> None:
    """Write the study's attribute :data:`ATTR` and the names of its objectives."""
    settings, defaults = plan.settings, plan.suggester.defaults
    conditions = {key: [c.text for c in values] for key, values in plan.conditions.items()}
    study.set_user_attr(
        ATTR,
        {
            **circumstances(command),
            "n_trials": settings.n_trials,
            "sampler": _class(settings.sampler),
            "sampler_seed": _seed(settings.sampler),
            "pruner": _class(settings.pruner),
            "seed": OmegaConf.select(defaults, "seed"),
            "space": space(plan),
            "conditions": conditions,
            "constraints": list(settings.constraints),
        },
    )
    names = objectives(task, defaults)
    if names is not None and len(names) == len(study.directions):
        with quiet():  # Optuna counts the names as experimental
            study.set_metric_names(list(names))


def circumstances(command: Command) -> dict[str, Any]:
    """What holds for any sweep of this process: command, folder, machine, versions, commit."""
    return {
        "program": list(command.program),
        "arguments": list(command.arguments),
        "folder": os.getcwd(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "versions": {k.removeprefix("version."): v for k, v in version_tags().items()},
        "source": source_tags(None),
    }


def space(plan: Plan) -> dict[str, str]:
    """The parameters and their values in words."""
    return {param.key: param.describe() for param in plan.space.params.values()}


def command_of(study: Study) -> Command | None:
    """The command that began the study; None where none is noted."""
    known = study.user_attrs.get(ATTR)
    return None if known is None else Command(known["arguments"], known["program"])


def _class(node: Any) -> str | None:
    """The class that a ``_target_`` node names, or that of an object which Hydra made of one."""
    if node is None:
        return None
    return str(node.get("_target_")).rpartition(".")[2] if isinstance(node, Mapping) else type(node).__name__


def _seed(node: Any) -> int | None:
    seed = node.get("seed") if isinstance(node, Mapping) else None
    return seed if isinstance(seed, int) else None
