"""Samplers from ``_target_`` nodes, with readable messages where one cannot be had."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rnn_sweep.errors import UserError, near
from rnn_sweep.storage import quiet
from rnn_sweep.sweep.space import Label, Param, Space
from rnn_sweep.trial import build_pruner

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

NEEDS: dict[str, str] = {"CmaEsSampler": "cmaes"}
"""The optional package of a sampler or pruner, which is also the extra of this package that brings it."""

_LEGACY = "hydra_plugins.hydra_optuna_sweeper._impl.create_"
"""The official sweeper's own makers of NSGA samplers."""


def require(target: str, key: str) -> None:
    """Check that the optional package of ``target`` is installed.

    Raises:
        UserError: it is missing; the message names the extra that brings it.
    """
    package = NEEDS.get(target.rpartition(".")[2])
    if package is not None and importlib.util.find_spec(package) is None:
        raise UserError(f"{key}={target} needs {package}: pip install 'rnn-sweep[{package}]'")


def build_sampler(node: Any, space: Space, conditional: bool, directions: int, session: int) -> BaseSampler:
    """Make the sampler of a sweep.

    Args:
        node: ``_target_`` node; None for TPE.
        space: for the grid.
        conditional: whether some parameters exist only in some trials; TPE then models each group of them by
        itself.
        directions: number of objectives.
        session: how many sweepers worked on the study before; a later one goes on with other random numbers
            instead of proposing the first one's points again.

    Raises:
        UserError: an unknown sampler, arguments that it refuses, a missing package, or a space that does not
        fit it.
    """
    node = {"_target_": "optuna.samplers.TPESampler"} if node is None else dict(node)
    target = str(node.pop("_target_", None))
    if target.startswith(_LEGACY):
        target = f"optuna.samplers.{'NSGAIIISampler' if 'nsgaiii' in target else 'NSGAIISampler'}"
    require(target, "hydra.sweeper.sampler")
    arguments = {k: v for k, v in node.items() if not k.startswith("_") and v is not None}
    if session and isinstance(arguments.get("seed"), int):
        arguments["seed"] = (arguments["seed"] + 1_000_003 * session) % 2**32
    if target == "optuna.samplers.GridSampler":
        arguments["search_space"] = grid(space, conditional)
    if target == "optuna.samplers.TPESampler" and conditional and directions == 1:
        arguments = {"group": True, "multivariate": True, **arguments}
    return _make(target, arguments)


def _make(target: str, arguments: Mapping[str, Any]) -> BaseSampler:
    import optuna
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate
    from optuna.samplers import BaseSampler

    module, _, name = target.rpartition(".")
    ours = module == "optuna.samplers"
    if ours and not hasattr(optuna.samplers, name):
        known = [n for n in optuna.samplers.__all__ if n.endswith("Sampler")]
        raise UserError(f"hydra.sweeper.sampler: optuna has no {name}; {near(name, known)}")
    try:
        with quiet():
            made = {k: instantiate(v, _convert_="all") if _is_node(v) else v for k, v in arguments.items()}
            sampler = getattr(optuna.samplers, name)(**made) if ours else instantiate({"_target_": target, **made})
    except (InstantiationException, TypeError, ValueError, ImportError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise UserError(f"hydra.sweeper.sampler: {target} cannot be made: {reason}") from None
    if not isinstance(sampler, BaseSampler):
        raise UserError(f"hydra.sweeper.sampler must be an Optuna sampler, got {target!r}")
    return sampler


def _is_node(value: Any) -> bool:
    return isinstance(value, Mapping) and "_target_" in value


def check_pruner(node: Any) -> None:
    """Check that the pruner of a ``_target_`` node can be made.

    Raises:
        UserError: it cannot.
    """
    if node is not None:
        require(str(node.get("_target_")), "hydra.sweeper.pruner")
    build_pruner(node)


def is_grid(node: Any) -> bool:
    """Whether a sampler node is the grid, which has an end of its own."""
    return isinstance(node, Mapping) and str(node.get("_target_")).endswith(".GridSampler")


def grid(space: Space, conditional: bool) -> dict[str, list[Label]]:
    """All values of every parameter.

    Raises:
        UserError: a parameter that cannot be counted, or conditions, which a grid does not know.
    """
    if conditional:
        raise UserError("hydra/sweeper/sampler=grid knows no conditions; hydra/sweeper/sampler=brute_force does")
    return {key: _values(param) for key, param in space.params.items()}


def grid_size(space: Space) -> int:
    """Number of points of the grid over ``space``."""
    return math.prod(len(_values(param)) for param in space.params.values())


def _values(param: Param) -> list[Label]:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    dist: Any = param.distribution
    if isinstance(dist, CategoricalDistribution):
        return list(dist.choices)
    if isinstance(dist, IntDistribution):
        return list(range(dist.low, dist.high + 1, dist.step))
    if dist.step is None:
        rule = "the grid needs values that can be counted: choice or range"
        raise UserError(f"{param.key}: {rule}; got an interval from {dist.low} to {dist.high}")
    count = round((dist.high - dist.low) / dist.step) + 1
    return [param.tidy(dist.low + i * dist.step) for i in range(count)]
