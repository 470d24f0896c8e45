"""What decides the outcome of a run under ``rnn_sweep.main(deterministic=…)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig

from rnn_sweep.errors import UserError
from rnn_sweep.run import settings

More = Callable[[DictConfig], object]
"""The application's own part: from the configuration to what decides beside it; None where chance has a part."""


def check(deterministic: Any) -> None:
    """Check the argument ``deterministic`` of ``rnn_sweep.main``. Raises :class:`UserError`."""
    if not (isinstance(deterministic, bool) or callable(deterministic)):
        rule = "rnn_sweep.main(deterministic=...) must be true, false or a function of the configuration"
        raise UserError(f"{rule}, got {deterministic!r:.100}")


def decides(deterministic: bool | More, cfg: DictConfig) -> object:
    """The resolved configuration without Hydra's node, the trial and where the run is recorded, and what is beside it.

    Raises:
        UserError: an interpolation cannot be resolved.
    """
    tree = settings.tree(cfg, resolve=True)
    (tree[settings.NODE] if settings.is_nested(cfg) else tree).pop("tracking", None)
    if deterministic is True:
        return tree
    assert callable(deterministic)  # noqa: S101 - see check
    more = deterministic(cfg)
    return None if more is None else [tree, more]
