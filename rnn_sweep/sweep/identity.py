"""Whether an application's jobs are told which trial they are: the node ``trial``, where it declares one.

It is at the top of the configuration, or below a node ``rnn_sweep`` (``rnn_sweep.main(nested=True)``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from omegaconf import DictConfig, OmegaConf

from rnn_sweep.errors import UserError
from rnn_sweep.keys import child, is_optional_dict

KEY = "trial"

NODE = "rnn_sweep"
"""Node of the keys ``trial`` and ``seed`` where the application has others by these names."""

TYPED = (f"{KEY}=", f"{NODE}.{KEY}=")
"""How an override begins that tells a job which trial it is."""

_SAMPLE = f"{KEY}={{study_name:a,storage:b,number:0,parent_run_id:null}}"


def prefix(cfg: DictConfig) -> str:
    """What stands before the keys ``trial`` and ``seed`` in an application's configuration: nothing, or its node."""
    return "" if _holder(cfg) is cfg else f"{NODE}."


def _holder(cfg: DictConfig) -> DictConfig:
    own = child(cfg, NODE)
    return cfg if own is None or KEY not in own.keys() else own  # noqa: SIM118


def declared(cfg: DictConfig) -> bool:
    """Whether the application has ``trial: null``; with any other value the key is its own."""
    node = _holder(cfg)
    if KEY not in node.keys() or OmegaConf.is_missing(node, KEY) or OmegaConf.is_interpolation(node, KEY):  # noqa: SIM118
        return False  # "in" is not true of what is missing
    return node[KEY] is None


def takes_identity(
    cfg: DictConfig, given: Sequence[str], compose: Callable[[Sequence[str]], object]
) -> tuple[bool, list[str]]:
    """Whether jobs get an identity.

    Args:
        cfg: the application's defaults.
        given: keys that the sweep itself sets.
        compose: composes a job's configuration from overrides.

    Returns:
        Also what the user should know, where an application's own ``trial`` keeps its jobs from being pruned.

    Raises:
        UserError: the type of ``trial`` is one that neither Hydra nor OmegaConf can put a mapping into.
    """
    node, key = _holder(cfg), prefix(cfg) + KEY
    if KEY not in node.keys():  # noqa: SIM118
        return False, []
    own = (
        f"the key {key!r} is the application's own (ours is null, of type Any): its jobs report nothing, none is pruned"
    )
    if key in given or not declared(cfg):
        return False, [own]
    if is_optional_dict(node, KEY):
        rule = "Hydra can put no mapping into an optional dict"
        raise UserError(f"{key} must be declared as `{KEY}: Any = None`: {rule}")
    try:
        compose([prefix(cfg) + _SAMPLE])
    except UserError:
        return False, [own]
    return True, []
