"""Metadata of a study for those who read it later: command, space, versions, commit."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rnn_sweep.provenance import source_tags, version_tags
from rnn_sweep.storage import quiet
from rnn_sweep.sweep.compatibility import ATTR as ATTR
from rnn_sweep.sweep.plan import Plan
from rnn_sweep.sweep.results import Command
from rnn_sweep.sweep.space.parameters import Param

if TYPE_CHECKING:
    from optuna import Study


def note(study: Study, plan: Plan, names: Sequence[str] | None, command: Command) -> None:
    """Write the study's attribute :data:`ATTR`, the latest sweeper's, and the ``names`` of its objectives."""
    settings = plan.settings
    conditions = {key: [c.text for c in values] for key, values in plan.conditions.items()}
    study.set_user_attr(
        ATTR,
        {
            **circumstances(command),
            "n_trials": settings.n_trials,
            "sampler": _class(settings.sampler),
            "sampler_why": plan.auto and plan.auto.why,
            "sampler_seed": _seed(settings.sampler),
            "pruner": _class(settings.pruner),
            "seed": plan.suggester.default("seed"),
            "space": space(plan),
            "params": {param.key: _param(param) for param in plan.space.params.values()},
            "identity": plan.identity,
            "heeds": plan.heeds,
            "conditions": conditions,
            "constraints": list(settings.constraints),
            "learn_from": list(settings.learn_from),
            "replicates": settings.replicates,
            "confirm": settings.confirm and ":".join(map(str, settings.confirm)),
            "evolution": plan.evolution and plan.evolution.noted(),
            "fixed": list(plan.space.fixed),
        },
    )
    if names is not None and len(names) == len(study.directions):
        with quiet():  # Optuna counts the names as experimental
            study.set_metric_names(list(names))


def circumstances(command: Command) -> dict[str, Any]:
    """What holds for any sweep of this process: command, folder, machine, versions, commit."""
    return {
        "program": list(command.program),
        "arguments": list(command.arguments),
        "single": list(command.single),
        "folder": os.getcwd(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "versions": {k.removeprefix("version."): v for k, v in version_tags().items()},
        "source": source_tags(None),
    }


def space(plan: Plan) -> dict[str, str]:
    """The parameters and their values in words."""
    return {param.key: param.describe() for param in plan.space.params.values()}


def _param(param: Param) -> dict[str, Any]:
    from optuna.distributions import distribution_to_json

    return {"distribution": distribution_to_json(param.distribution), "texts": list(param.texts.values())}


def params_of(study: Study) -> dict[str, Param]:
    """What the study searches: what the latest sweep noted, and what trials have had besides."""
    from optuna.distributions import json_to_distribution

    found: dict[str, Param] = {}
    for trial in study.get_trials(deepcopy=False):
        found |= {key: Param(key, dist) for key, dist in trial.distributions.items() if key not in found}
    for key, known in study.user_attrs.get(ATTR, {}).get("params", {}).items():
        dist: Any = json_to_distribution(known["distribution"])
        found[key] = Param(key, dist, dict(zip(dist.choices, known["texts"], strict=True)) if known["texts"] else {})
    return found


def command_of(study: Study) -> Command | None:
    """The command that began the study; None where none is noted."""
    known = study.user_attrs.get(ATTR)
    return None if known is None else Command(known["arguments"], known["program"], known.get("single", ()))


def _class(node: Any) -> str | None:
    """The class that a ``_target_`` node names, or that of an object which Hydra made of one."""
    if node is None:
        return None
    return str(node.get("_target_")).rpartition(".")[2] if isinstance(node, Mapping) else type(node).__name__


def _seed(node: Any) -> int | None:
    seed = node.get("seed") if isinstance(node, Mapping) else None
    return seed if isinstance(seed, int) else None
