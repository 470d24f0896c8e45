"""The node ``hydra.sweeper`` as Hydra composed it, and what the command line replaced of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rnn_sweep.errors import UserError

_SWEEPER = "hydra.sweeper."
_WITH_PARAMS = ("conditions", "enqueue")
"""Settings that speak of the parameters of a space, and are replaced with them."""


def read_node(config: DictConfig) -> dict[str, Any]:
    """The resolved values of ``hydra.sweeper``, keys below ``params`` and ``conditions`` dotted where they were nested.

    ``hydra.sweeper.params=null`` on the command line drops the space of the file that is in force, and with it what
    else that file says of its parameters.

    Raises:
        UserError: an interpolation that cannot be resolved.
    """
    try:
        node: Any = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"hydra.sweeper: {' '.join(str(error).split())}") from None
    typed = OverridesParser.create().parse_overrides(typed_lines(config, "hydra"))
    if any(_drops_params(override) for override in typed):
        node |= {key: _typed_only(key, node.get(key), typed) for key in _WITH_PARAMS}
    for key in ("params", "conditions"):
        if isinstance(node.get(key), Mapping):
            node[key] = dict(_flat(node[key], whole=key == "conditions"))
    return dict(node)


def typed_lines(config: DictConfig, kind: str) -> list[str]:
    """The overrides of the command line as they were typed, ``${…}`` in them included.

    Args:
        config: Hydra's configuration.
        kind: ``hydra`` for those of Hydra's own settings, ``task`` for the application's.
    """
    lines: Any = OmegaConf.to_container(config.hydra.overrides[kind], resolve=False)
    return list(map(str, lines))


def _drops_params(override: Override) -> bool:
    return override.key_or_group == f"{_SWEEPER}params" and (override.is_delete() or override.value() is None)


def _typed_only(key: str, value: Any, typed: Sequence[Override]) -> Any:
    """Of a setting's ``value`` the part that the command line gave."""
    whole = f"{_SWEEPER}{key}"
    own: set[str] = set()
    for override in typed:
        if override.key_or_group == whole:
            given = override.value()
            if not isinstance(given, Mapping):
                return value
            own |= {str(name) for name in given}
        elif override.key_or_group.startswith(f"{whole}."):
            own.add(override.key_or_group.removeprefix(f"{whole}.").partition(".")[0])
    return {name: each for name, each in value.items() if name in own} if isinstance(value, Mapping) and own else None


def _flat(node: Mapping[Any, Any], prefix: str = "", *, whole: bool) -> Iterator[tuple[str, Any]]:
    """Dotted keys for a mapping that a dotted key on the command line made: ``+hydra.sweeper.params.model.layers=…``.

    A mapping without a sweep in it is a value, unless ``whole`` says that no value is a mapping; one with a ``type`` is
    a distribution spelt out.
    """
    for name, value in node.items():
        key = f"{prefix}{name}"
        nested = isinstance(value, Mapping) and value and "type" not in value
        if nested and (whole or _has_sweep(value)):
            yield from _flat(value, f"{key}.", whole=True)
        else:
            yield key, value


def _has_sweep(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "type" in value or any(map(_has_sweep, value.values()))
    if not isinstance(value, str):
        return False
    try:
        return bool(OverridesParser.create().parse_override(f"x={value}").is_sweep_override())
    except Exception:  # a text that is no value of the grammar; whoever reads it says so
        return False
