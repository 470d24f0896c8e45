"""Near names for a mistyped override. Hydra says that a key is not there; this says which one was meant."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rnn_sweep.errors import near


@contextmanager
def near_names(config_dir: str, config_name: str) -> Iterator[None]:
    """When Hydra ends the program over its overrides, add a line with the nearest names for each unknown key.

    Nothing is computed while all is well. ``config_dir`` is relative to the script that was started.
    """
    try:
        yield
    except SystemExit as end:
        if end.code == 1:
            folder = Path(sys.argv[0]).resolve().parent / config_dir
            for line in suggestions(sys.argv[1:], folder, config_name):
                print(line, file=sys.stderr)
        raise


def suggestions(arguments: list[str], config_dir: Path, config_name: str) -> list[str]:
    """One line for each ``key=value`` argument whose key is neither a setting nor a config group."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    GlobalHydra.instance().clear()
    lines = []
    with initialize_config_dir(str(config_dir), version_base="1.3"):
        groups = {p.name for p in config_dir.iterdir() if p.is_dir()}
        # The settings of a group depend on the option that is chosen.
        chosen = [argument for argument in arguments if argument.partition("=")[0] in groups]
        try:
            cfg = compose(config_name, chosen, return_hydra_config=True)
        except HydraException:  # a choice is wrong itself, or many of a sweep
            cfg = compose(config_name, return_hydra_config=True)
        known = set(_keys(cfg, "")) | groups
    for argument in arguments:
        try:
            override = OverridesParser.create().parse_override(argument)
        except HydraException:
            continue
        key = override.key_or_group
        if override.is_add() or key in known or key.startswith(("hydra/", "hydra.")):
            continue
        lines.append(f"{key} is not a setting: {near(key, known)}")
    return lines


def _keys(node: Any, prefix: str) -> Iterator[str]:
    """Dotted names of all settings below ``node``."""
    from omegaconf import DictConfig

    for key in node:
        name = f"{prefix}{key}"
        yield name
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_interpolation():
            yield from _keys(child, f"{name}.")
