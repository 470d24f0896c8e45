"""Compatibility with the official sweeper, hydra-optuna-sweeper: its configurations run unchanged.

It takes the stop of a ``range`` as included up to its version 1.3, and Hydra's meaning, which is ours, from 1.4 on.
Applications import this module through Hydra's plugins, so it imports nothing heavy.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, TypeVar

PACKAGE = "hydra_plugins.hydra_optuna_sweeper"
_MODULE = f"{PACKAGE}.optuna_sweeper"

TPE = {"n_startup_trials": 10, "multivariate": False, "group": False, "constant_liar": False}
"""Arguments of its TPE sampler, where ours or Optuna's own defaults have changed since."""

_K = TypeVar("_K", bound=type)


class _OnDemand(MetaPathFinder, Loader):
    """Makes the module of the official sweeper's class for the application whose configuration names it, for no other.

    It comes after all other finders: a later installation of the official sweeper is found first.
    """

    def __init__(self, kind: type) -> None:
        self._kind = kind

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The spec of one of two modules, None of any other."""
        return ModuleSpec(name, self, is_package=name == PACKAGE) if name in (PACKAGE, _MODULE) else None

    def exec_module(self, module: ModuleType) -> None:
        """Put the class into its module."""
        if module.__name__ == _MODULE:
            vars(module)[self._kind.__name__] = self._kind


def stand_in(kind: _K) -> _K | None:
    """A class under the official sweeper's name, for configurations that name it.

    Returns:
        The class; None where the official sweeper is installed.
    """
    # Hydra may execute its plugins again, and then there is a new class.
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _OnDemand)]
    for name in (_MODULE, PACKAGE):
        if isinstance(getattr(sys.modules.get(name), "__loader__", None), _OnDemand):
            del sys.modules[name]
    if importlib.util.find_spec(PACKAGE) is not None:
        return None
    made: _K = type(kind)("OptunaSweeper", (kind,), {"__module__": _MODULE, "__doc__": kind.__doc__})
    sys.meta_path.append(_OnDemand(made))
    return made


def sampler_target(target: str) -> str:
    """The class that a ``_target_`` means: its own makers of NSGA samplers are those of Optuna."""
    if not target.startswith(f"{PACKAGE}._impl.create_"):
        return target
    return f"optuna.samplers.{'NSGAIIISampler' if 'nsgaiii' in target else 'NSGAIISampler'}"


def renamed(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings under their names of today: ``params`` was ``search_space`` before its version 1.2."""
    rest = {key: value for key, value in given.items() if key != "search_space"}
    if "search_space" in given:
        rest["params"] = {**given["search_space"], **rest.get("params", {})}
    return rest
