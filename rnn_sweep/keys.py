"""Keys of a composed configuration, walked without resolving or changing anything."""

from __future__ import annotations

from collections.abc import Iterator

from omegaconf import DictConfig, OmegaConf


def child(node: DictConfig, key: str) -> DictConfig | None:
    """The mapping below ``key``; None for any other value, an interpolation and what is missing."""
    if key not in node.keys() or OmegaConf.is_missing(node, key) or OmegaConf.is_interpolation(node, key):  # noqa: SIM118
        return None
    value = node[key]
    return value if isinstance(value, DictConfig) else None


def keys_of(node: DictConfig, prefix: str = "", *, hydra: bool = False) -> Iterator[str]:
    """Dotted names of all settings below ``node``; without Hydra's own unless they are asked for."""
    for key in map(str, node):
        if prefix == "" and key == "hydra" and not hydra:
            continue
        yield f"{prefix}{key}"
        below = child(node, key)
        if below is not None:
            yield from keys_of(below, f"{prefix}{key}.", hydra=hydra)


def is_optional_dict(node: DictConfig, key: str) -> bool:
    """Whether ``key``, which is null, has a mapping as its type; OmegaConf has no public way to ask that of a null."""
    return isinstance(node._get_node(key), DictConfig)
