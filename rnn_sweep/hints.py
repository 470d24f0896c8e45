"""What Hydra leaves unsaid about a mistyped override: which key was meant, and what a config group takes."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rnn_sweep.errors import near


@contextmanager
def near_names(config_dir: str, config_name: str) -> Iterator[None]:
    """When Hydra ends the program over its overrides, add a line with the nearest names for each unknown key.

    Credentials in ``tracking.uri`` are taken from the command line first: Hydra writes that down.
    What Hydra answers with a traceback, a config group that is given a number or null, or a whole number of thousands
    of digits, is refused before.
    Nothing is computed while all is well. ``config_dir`` is relative to the script that was started.
    """
    if any("tracking.uri=" in argument for argument in sys.argv):
        from rnn_sweep.tracking.masks import withheld

        sys.argv[1:] = map(withheld, sys.argv[1:])
    for argument in sys.argv[1:]:
        if message := overlong(argument) or no_option(argument, Path(sys.argv[0]).resolve().parent / config_dir):
            print(f"error: {message}", file=sys.stderr)
            raise SystemExit(2)
    try:
        yield
    except SystemExit as end:
        if end.code == 1:
            folder = Path(sys.argv[0]).resolve().parent / config_dir
            for line in suggestions(sys.argv[1:], folder, config_name):
                print(line, file=sys.stderr)
        raise


def overlong(argument: str) -> str:
    """What is wrong with an override that holds a whole number of more digits than Python reads; empty if none does."""
    most = sys.get_int_max_str_digits()
    if not 0 < most < len(argument):  # 0: the user has lifted the limit
        return ""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(argument)
    except HydraException:  # which Hydra says itself
        return ""
    except ValueError:
        key, _, text = argument.partition("=")
        got = f"{text[:_SHOWN]}… ({len(text)} characters)"
        return f"{key[:_SHOWN]}: a whole number may have {most} digits at most, got {got}"
    return ""


_SHOWN = 60
"""Characters of an overlong override that a message repeats."""


def no_option(argument: str, config_dir: Path) -> str:
    """What is wrong with ``GROUP=VALUE`` where the value names no option of the group; empty where it may be right."""
    key, _, text = argument.partition("=")
    group = key.lstrip("+").partition("@")[0]
    folder = config_dir / group
    if not text or _NAME.fullmatch(text) or not (group.startswith("hydra/") or (group and folder.is_dir())):
        return ""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ChoiceSweep
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(argument)
    except HydraException:  # which Hydra says itself
        return ""
    given = override.value()
    for each in given.list if isinstance(given, ChoiceSweep) else [given]:
        names = each if isinstance(each, list) else [each]
        if not all(name is not None and not isinstance(name, int | float) for name in names):
            options = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
            known = f"; known: {options}" if options else ""
            return f"{group} must be the name of an option, got {argument.removeprefix(f'{key}=')}{known}"
    return ""


_NAME = re.compile(r"(?!(?:null|true|false|nan|inf)$)[A-Za-z_][\w./-]*", re.IGNORECASE)
"""What can only be a name."""


def suggestions(arguments: list[str], config_dir: Path, config_name: str) -> list[str]:
    """One line for each ``key=value`` argument whose key is neither a setting nor a config group."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    GlobalHydra.instance().clear()
    lines = [line for line in map(extra, arguments) if line]
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


def extra(argument: str) -> str:
    """The extra that has to be installed for a launcher of Hydra's that is chosen; empty where none is missing."""
    name = argument.removeprefix("hydra/launcher=")
    if name not in ("submitit_local", "submitit_slurm"):
        return ""
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        return f"hydra/launcher={name} needs a package: {error}; pip install 'rnn-sweep[submitit]'"
    return ""


def _keys(node: Any, prefix: str) -> Iterator[str]:
    """Dotted names of all settings below ``node``."""
    from omegaconf import DictConfig

    for key in node:
        name = f"{prefix}{key}"
        yield name
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_interpolation():
            yield from _keys(child, f"{name}.")
