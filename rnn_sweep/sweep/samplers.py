"""Samplers from ``_target_`` nodes, with readable messages where one cannot be had."""

from __future__ import annotations

import importlib.util
import math
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rnn_sweep.arguments import check_arguments
from rnn_sweep.errors import UserError, near
from rnn_sweep.storage import quiet
from rnn_sweep.sweep.official import sampler_target
from rnn_sweep.sweep.space.parameters import Space, bare
from rnn_sweep.trial import build_pruner

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

    from rnn_sweep.sweep.space.suggest import Suggester

NEEDS: dict[str, str] = {"CmaEsSampler": "cmaes"}
"""The optional package of a sampler or pruner, which is also the extra of this package that brings it."""

AUTO = "rnn_sweep.sweep.auto.choose"
"""The ``_target_`` of ``hydra/sweeper/sampler=auto``, see :mod:`rnn_sweep.sweep.auto`."""

_EXHAUSTIVE = ("optuna.samplers.GridSampler", "optuna.samplers.BruteForceSampler")
"""Those that :class:`rnn_sweep.sweep.exhaustive.Exhaustive` stands in for."""


def require(target: str, key: str) -> None:
    """Check that the optional package of ``target`` is installed.

    Raises:
        UserError: it is missing; the message names the extra that brings it.
    """
    package = NEEDS.get(target.rpartition(".")[2])
    if package is not None and importlib.util.find_spec(package) is None:
        raise UserError(f"{key}={target} needs {package}: pip install 'rnn-sweep[{package}]'")


def build_sampler(node: Any, suggester: Suggester, directions: int, session: int, study: str) -> BaseSampler:
    """Make the sampler of a sweep.

    Args:
        node: ``_target_`` node; None for TPE.
        suggester: of the sweep. Where some parameters exist only in some trials, TPE models each group of them by
            itself.
        directions: number of objectives.
        session: how many sweepers worked on the study before. A sampler that draws at random goes on with other
            numbers instead of proposing the first sweeper's points again; one that follows a plan keeps its seed.
        study: its name, from which all sweepers take the same plan where no seed is given.

    Raises:
        UserError: an unknown sampler, arguments that it refuses, a missing package, or a space that does not
        fit it.
    """
    node = {"_target_": "optuna.samplers.TPESampler"} if node is None else dict(node)
    target = sampler_target(str(node.pop("_target_", None)))
    require(target, "hydra.sweeper.sampler")
    arguments = {k: v for k, v in node.items() if not k.startswith("_") and v is not None}
    if target in _EXHAUSTIVE:
        return _exhaustive(target, arguments, suggester)
    drawn = {key: _shifted(key, value, session) for key, value in arguments.items()}
    for name in _BY_PARAMETER & drawn.keys():
        drawn[name] = _of_space(f"hydra.sweeper.sampler.{name}", drawn[name], suggester.space)
    if target == "optuna.samplers.QMCSampler":
        drawn |= _sequence(arguments, drawn.get("seed"), study)
    if target == "optuna.samplers.TPESampler" and suggester.conditions and directions == 1:
        drawn = {"group": True, "multivariate": True, **drawn}
    return _make(target, drawn)


def _shifted(key: str, value: Any, session: int) -> Any:
    """A seed for a later session; other values as they are, but for the seeds of samplers within this one."""
    if session and key == "seed" and isinstance(value, int):
        return (value + 1_000_003 * session) % 2**32
    return {k: _shifted(k, v, session) for k, v in value.items()} if _is_node(value) else value


def _sequence(arguments: Mapping[str, Any], drawn: Any, study: str) -> dict[str, Any]:
    """What makes all sweepers of a study go on in one low-discrepancy sequence, whose scrambling the seed decides.

    What is not in the sequence, parameters of conditions above all, is drawn as ever.
    """
    seed = arguments.get("seed", zlib.crc32(study.encode()))
    random = {"_target_": "optuna.samplers.RandomSampler", "seed": drawn}
    return {"seed": seed, "independent_sampler": arguments.get("independent_sampler", random)}


def _exhaustive(target: str, arguments: Mapping[str, Any], suggester: Suggester) -> BaseSampler:
    import optuna

    from rnn_sweep.sweep.exhaustive import Exhaustive

    check_arguments("hydra.sweeper.sampler", getattr(optuna.samplers, target.rpartition(".")[2]), arguments)
    return Exhaustive(suggester, arguments.get("seed"))


def _make(target: str, arguments: Mapping[str, Any], key: str = "hydra.sweeper.sampler") -> BaseSampler:
    """Make the sampler of a ``_target_`` node at ``key``, and those that are among its arguments."""
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate
    from optuna.samplers import BaseSampler

    try:
        with quiet():
            made = {name: _argument(f"{key}.{name}", value) for name, value in arguments.items()}
            kind = _class(target, key)
            if kind is not None:
                check_arguments(key, kind, made)
            sampler = instantiate({"_target_": target, **made}) if kind is None else kind(**made)
    except (InstantiationException, TypeError, ValueError, ImportError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise UserError(f"{key}: {target} cannot be made: {reason}") from None
    if not isinstance(sampler, BaseSampler):
        raise UserError(f"{key} must be an Optuna sampler, got {target!r}")
    return sampler


def _class(target: str, key: str) -> type[BaseSampler] | None:
    """A class of ``optuna.samplers``; None where ``target`` is something else's."""
    import optuna

    module, _, name = target.rpartition(".")
    if module != "optuna.samplers":
        return None
    known = [n for n in optuna.samplers.__all__ if n.endswith("Sampler")]
    if name not in known:
        raise UserError(f"{key}: optuna has no {name or target}; {near(name or target, known)}")
    found: type[BaseSampler] = getattr(optuna.samplers, name)
    return found


def _argument(key: str, value: Any) -> Any:
    """An argument, which may be a ``_target_`` node itself."""
    from hydra.utils import instantiate

    if not _is_node(value):
        return value
    target = str(value["_target_"])
    if target.rpartition(".")[0] == "optuna.samplers":
        return _make(target, {k: v for k, v in value.items() if not str(k).startswith("_")}, key)
    return instantiate(value, _convert_="all")


def _of_space(key: str, given: Any, space: Space) -> Any:
    """An argument that maps parameters to values, with their names in the study."""
    if not isinstance(given, Mapping):
        raise UserError(f"{key} must map parameters to values, got {given!r}")
    by_name = {bare(name): name for name in space.params}
    if unknown := [str(name) for name in given if bare(str(name)) not in by_name]:
        raise UserError(f"{key}: {unknown[0]!r} is not searched; {near(unknown[0], by_name)}")
    return {by_name[bare(str(name))]: value for name, value in given.items()}


_BY_PARAMETER = {"x0", "fixed_params"}
"""Arguments of samplers that map the parameters of the space to values."""


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


def check_countable(node: Any, distributions: Mapping[str, BaseDistribution]) -> None:
    """Check that a sampler that tries all points can count them.

    Raises:
        UserError: it cannot.
    """
    if isinstance(node, Mapping) and node.get("_target_") in _EXHAUSTIVE:
        from rnn_sweep.sweep.exhaustive import countable

        for name, distribution in distributions.items():
            countable(name, distribution)


def size(node: Any, suggester: Suggester) -> float:
    """The number of points that the sampler tries at most: infinite but for a grid, whose points can be counted."""
    if not isinstance(node, Mapping) or node.get("_target_") not in _EXHAUSTIVE:
        return math.inf
    if suggester.conditions or suggester.extend is not None:
        return math.inf
    from rnn_sweep.sweep.exhaustive import countable

    return math.prod(len(countable(key, p.distribution)) for key, p in suggester.space.params.items())
