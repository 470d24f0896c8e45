"""What Hydra leaves unsaid about a mistyped override: which key was meant, and what a config group takes."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rnn_sweep.errors import near
from rnn_sweep.keys import keys_of


@contextmanager
def near_names(folder: Path, config_name: str) -> Iterator[None]:
    """When Hydra ends the program over its overrides, add a line with the nearest names for each unknown key.

    What Hydra answers with a traceback, a config group that is given a number or null, or a whole number of thousands
    of digits, is refused before.
    Nothing is computed while all is well.

    Args:
        folder: of the application's configuration.
        config_name: the configuration in it.
    """
    for argument in sys.argv[1:]:
        if message := overlong(argument) or typed_as_key(argument) or no_option(argument, folder):
            print(f"error: {message}", file=sys.stderr)
            raise SystemExit(2)
    try:
        yield
    except SystemExit as end:
        if end.code == 1:
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


def typed_as_key(argument: str) -> str:
    """What is wrong with a group of Hydra's own that is typed with dots for slashes; empty where none is."""
    key, _, value = argument.partition("=")
    if key.lstrip("+") not in _GROUPS or not _NAME.fullmatch(value):
        return ""
    return f"{key} takes settings, got {value!r}; the group is {key.lstrip('+').replace('.', '/')}={value}"


_GROUPS = {f"hydra.{name}" for name in ("sweeper", "launcher", "sweeper.sampler", "sweeper.pruner", "sweeper.space")}


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

    from rnn_sweep.hydra_version import BASE

    GlobalHydra.instance().clear()
    lines = [line for line in map(extra, arguments) if line]
    with initialize_config_dir(str(config_dir), **BASE):
        groups = {p.name for p in config_dir.iterdir() if p.is_dir()}
        # The settings of a group depend on the option that is chosen.
        chosen = [a for a in arguments if a.partition("=")[0] in groups or a.startswith("hydra/")]
        try:
            cfg = compose(config_name, chosen, return_hydra_config=True)
        except HydraException:  # a choice is wrong itself, or many of a sweep
            cfg = compose(config_name, return_hydra_config=True)
        known = set(keys_of(cfg, hydra=True)) | groups
    for argument in arguments:
        try:
            override = OverridesParser.create().parse_override(argument)
        except HydraException:
            continue
        key = override.key_or_group
        if override.is_add() or key in known or key.startswith("hydra/"):
            continue
        lines.append(f"{key} is not a setting: {near(key, _beside(key, known) if key.startswith('hydra.') else known)}")
    return lines


def _beside(key: str, known: set[str]) -> set[str]:
    """The settings of the innermost node on the way to ``key`` that there is."""
    node = key
    while node and not any(name.startswith(f"{node}.") for name in known):
        node = node.rpartition(".")[0]
    below = {name.removeprefix(f"{node}.") for name in known if name.startswith(f"{node}.")}
    return {f"{node}.{name}" for name in below if "." not in name and not name.startswith("_")}


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
