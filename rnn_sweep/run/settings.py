"""The settings of a run that the bridge reads, out of any application's configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rnn_sweep.config import TrackingConfig
from rnn_sweep.config.parsing import tracking_config, trial_identity
from rnn_sweep.config.ranges import check_seed
from rnn_sweep.errors import UserError
from rnn_sweep.run.hooks import Hooks

NODE = "rnn_sweep"
"""Node that holds the keys of an application which has others by their names: ``rnn_sweep.main(nested=True)``."""

KEYS = ("seed", "objective", "trial", "tracking")

RENAME = "a key of your own by that name can stay with rnn_sweep.main(..., nested=True): ours are then rnn_sweep.{}"


@dataclass(frozen=True)
class Settings:
    """What the bridge knows of a run's configuration."""

    tracking: TrackingConfig
    seed: int = 1
    objective: tuple[str, ...] = ()
    """Metrics that a sweep optimises; empty where they are what the function returns."""
    trial: Mapping[str, Any] | None = None
    """The identity of a sweep's trial; None in a plain run."""


@dataclass(frozen=True)
class Composed:
    """A run's configuration, read and checked as far as its keys go."""

    config: Any
    """What the training function gets."""
    settings: Settings
    written: Mapping[str, Any]
    """As it was written, by which two runs are told to have the same: what holds a run's folder is an interpolation."""
    params: Mapping[str, Any]
    """With all values, as it is recorded."""


def composed(cfg: DictConfig | Mapping[str, Any], hooks: Hooks) -> Composed:
    """Read what Hydra composed, or what ``hooks.parse`` returned before.

    Raises:
        UserError: something in it is wrong, or a configuration file has credentials, which every run would record.
    """
    if hooks.parse is None:
        cfg = cfg if isinstance(cfg, DictConfig) else OmegaConf.create(dict(cfg))
        found = read(cfg)
        return Composed(cfg, found, tree(cfg, resolve=False), tree(cfg, resolve=True))
    config = hooks.parse(without_hydra(cfg) if isinstance(cfg, DictConfig) else cfg)
    _refuse_credentials(cfg, config)
    found = read(config)
    config = {**config, "tracking": {**config["tracking"], "uri": found.tracking.uri}}
    written = {key: value for key, value in config.items() if key != "trial"}
    return Composed(config, found, written, written)


def without_hydra(cfg: DictConfig) -> DictConfig:
    """The application's own configuration."""
    return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])


def _refuse_credentials(cfg: DictConfig | Mapping[str, Any], config: Mapping[str, Any]) -> None:
    from rnn_sweep.redaction import TRACKING_VARIABLE, mask

    given = str(config["tracking"]["uri"])
    uri = mask(given)
    if uri != given and not (isinstance(cfg, DictConfig) and OmegaConf.is_interpolation(cfg.tracking, "uri")):
        how = f"write ${{oc.env:NAME}} instead, or '***' for them and the whole URI into {TRACKING_VARIABLE}"
        raise UserError(f"tracking.uri must have no credentials in a file, which each run records: got '{uri}'; {how}")


def read(cfg: DictConfig | Mapping[str, Any]) -> Settings:
    """Read and check ``seed``, ``objective``, ``trial`` and ``tracking``; what is not there has its default.

    Raises:
        UserError: one of them is something else, of the application's own.
    """
    nested = is_nested(cfg)
    try:
        found = {key: _plain(cfg[NODE] if nested else cfg, key) for key in KEYS}
    except OmegaConfBaseException as error:
        raise UserError(f"the configuration cannot be resolved: {str(error).splitlines()[0]}") from error
    if isinstance(found["tracking"], dict) and found["tracking"].get("experiment") is None:
        found["tracking"] = {**found["tracking"], "experiment": _application(cfg)}
    return Settings(**{key: _parsed(key, value, nested) for key, value in found.items()})


def _parsed(key: str, value: Any, nested: bool) -> Any:
    try:
        return _PARSERS[key](value)
    except UserError as error:
        raise UserError(str(error) if nested else f"{error}; {RENAME.format(key)}") from None


def is_nested(cfg: DictConfig | Mapping[str, Any]) -> bool:
    """Whether the keys are those of the node :data:`NODE`."""
    return OmegaConf.is_dict(cfg.get(NODE)) and "trial" in cfg[NODE]


def tree(cfg: DictConfig, *, resolve: bool) -> dict[str, Any]:
    """The application's configuration in plain values, without the trial's identity and Hydra's node.

    Raises:
        UserError: an interpolation cannot be resolved.
    """
    try:
        found: Any = OmegaConf.to_container(without_hydra(cfg), resolve=resolve, enum_to_str=True)
    except OmegaConfBaseException as error:
        raise UserError(f"the configuration cannot be resolved: {str(error).splitlines()[0]}") from error
    (found[NODE] if is_nested(cfg) else found).pop("trial", None)
    return _spelled(found)  # type: ignore[no-any-return]


def _plain(cfg: DictConfig | Mapping[str, Any], key: str) -> Any:
    node = cfg.get(key)
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _spelled(value: Any) -> Any:
    """``value`` in what JSON has, other objects as text."""
    if isinstance(value, Mapping):
        return {str(key): _spelled(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _seed(value: Any) -> int:
    if value is None:
        return Settings.seed
    if isinstance(value, bool) or not isinstance(value, int):
        raise UserError(f"seed must be an integer, got {value!r}")
    check_seed("seed", value)
    return value


def _objective(value: Any) -> tuple[str, ...]:
    names = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) and name.strip() for name in names):
        raise UserError(f"objective must be the name of a metric, a list of them, or null, got {value!r}")
    return tuple(names)


def _tracking(value: Any) -> TrackingConfig:
    from rnn_sweep.redaction import withhold

    if not isinstance(value, Mapping | None):
        raise UserError(f"tracking must be a mapping of settings, got {value!r}")
    config = tracking_config(value or {})
    return anchored(replace(config, uri=withhold(config.uri)))


def anchored(tracking: TrackingConfig) -> TrackingConfig:
    """Resolve a relative file against the folder that the program was started in: ``hydra.job.chdir`` leaves it."""
    if not (HydraConfig.initialized() and HydraConfig.get().job.chdir):
        return tracking
    home = HydraConfig.get().runtime.cwd
    relative = r"^(sqlite[^:]*:///)(?!/|~|:memory:|file:)"
    return replace(tracking, uri=re.sub(relative, lambda found: f"{found[1]}{home}/", tracking.uri))


def _application(cfg: DictConfig | Mapping[str, Any]) -> str:
    """What runs are filed under: the name of the Hydra application, whether its own node is in ``cfg`` or not."""
    if isinstance(cfg, DictConfig) and "hydra" in cfg:
        return str(cfg.hydra.job.name)
    return str(HydraConfig.get().job.name) if HydraConfig.initialized() else TrackingConfig.experiment


_PARSERS: Mapping[str, Any] = {
    "seed": _seed,
    "objective": _objective,
    "trial": trial_identity,
    "tracking": _tracking,
}
