"""The keys of ``hydra.sweeper``, read once and checked."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from rnn_sweep.errors import UserError, near
from rnn_sweep.sweep.official import renamed

CAUSES: Mapping[str, int] = {"exception": 0, "no_value": 0, "worker_died": 2, "orphaned": 2, "interrupted": 100}
"""Why a trial can fail, and how often it is tried again with the same parameters by default."""


@dataclass(frozen=True)
class Settings:
    """What the user asked of the sweep.

    ``sampler`` to ``custom_search_space`` are the official sweeper's settings, ``replicates``, ``confirm`` and
    ``pruner`` aside.
    """

    sampler: Any = None
    """A ``_target_`` node of ``optuna.samplers``, or a sampler that Hydra has already made of it."""
    directions: tuple[str, ...] = ("minimize",)
    """Key ``direction``: one of minimize and maximize for each objective; None leaves it to their names."""
    storage: str | None = None
    """URL (see :func:`rnn_sweep.storage.open_storage`); None: the file ``studies/<study_name>.journal``."""
    study_name: str | None = None
    n_trials: int = 20
    """In total, with those of earlier and of other sweepers on the same study."""
    n_jobs: int | None = None
    """Trials in flight, where the launcher can run more than one at a time; None leaves it to the launcher."""
    replicates: int = 1
    """Jobs for each trial, with seeds of their own; the trial's value is the mean of theirs."""
    confirm: tuple[int, int] | None = None
    """``top:seeds``: how many of the best configurations are trained again at the end, and with how many more seeds;
    these runs come on top of ``n_trials``, and the winner is the best by their mean."""
    max_failure_rate: float = 0.5
    """Stop when more than this part of the latest ten (or those in flight, if that is more) trials failed."""
    params: Mapping[str, Any] = field(default_factory=dict)
    custom_search_space: str | None = None
    """Path of a function ``(cfg, trial)`` that suggests further parameters."""
    pruner: Any = None
    """A ``_target_`` node of ``optuna.pruners``."""
    enqueue: Sequence[Mapping[str, Any]] = ()
    """Points to try first: ``{key: value}``; keys that are left out are sampled."""
    learn_from: Sequence[str] = ()
    """Names of other studies, whose best points are tried first and whose trials TPE and GP learn from."""
    conditions: Mapping[str, Any] = field(default_factory=dict)
    """See :mod:`rnn_sweep.sweep.space.conditions`."""
    constraints: Sequence[str] = ()
    """Such as ``parameters <= 100000``: a metric of the outcome, or a note of the job, and a number."""
    timeout: float | None = None
    """Wall time in seconds, or text such as 90s, 15m, 1h30m."""
    retries: Mapping[str, int] = field(default_factory=lambda: dict(CAUSES))
    """How often a trial is tried again with the same parameters, by cause."""
    defaults_first: bool = True
    """Trial 0 is the application's own defaults, as far as they lie inside the space."""
    deterministic: bool = False
    """Tell results in the order of trial numbers, so that with several slots the same sweep happens twice."""
    reuse: bool | None = None
    """Take the outcome of a configuration that was run before instead of running it again, and end a finite space when
    each of its points was tried. None, and True as well, where the application says that it is deterministic."""
    report: bool = True
    """Write ``report.html`` and its pictures into the sweep's folder at the end, which takes some seconds."""
    dry_run: bool = False
    """Print the space and the first configurations, and stop."""


def parse_settings(node: Mapping[str, Any]) -> Settings:
    """Check plain values (a resolved ``hydra.sweeper`` node) and put the defaults in where a value is None.

    Raises:
        UserError: an unknown key, or a value of the wrong type or out of its range.
    """
    keys = {f.name for f in fields(Settings)} - {"directions"} | {"direction"}
    given = renamed({k: v for k, v in node.items() if not k.startswith("_") and v is not None})
    if unknown := sorted(set(given) - keys):
        raise UserError(f"hydra.sweeper.{unknown[0]} is not a setting: {near(unknown[0], keys)}")
    if "direction" in given:
        given["directions"] = _directions(given.pop("direction"))
    for key, most in (("n_trials", None), ("n_jobs", 10_000), ("replicates", 1_000)):
        if key in given:
            given[key] = _whole(key, given[key], 1, most)
    if "confirm" in given:
        given["confirm"] = _confirm(given["confirm"])
    if "max_failure_rate" in given:
        given["max_failure_rate"] = _number("max_failure_rate", given["max_failure_rate"], 0.0, 1.0)
    if "timeout" in given:
        given["timeout"] = _seconds(given["timeout"])
    if "retries" in given:
        given["retries"] = _retries(given["retries"])
    _check_kinds(given)
    _check_name(given)
    _check_lists(given)
    return Settings(**given)


def _check_kinds(given: dict[str, Any]) -> None:
    for key in ("defaults_first", "deterministic", "reuse", "report", "dry_run"):
        if not isinstance(given.get(key, True), bool):
            raise UserError(f"hydra.sweeper.{key} must be true or false, got {given[key]!r}")
    for key in ("sampler", "pruner"):
        if isinstance(given.get(key), _PLAIN):
            check_node(f"hydra.sweeper.{key}", given[key])
    for key in ("params", "conditions"):
        if not isinstance(given.get(key, {}), Mapping):
            raise UserError(f"hydra.sweeper.{key} must map keys to values, got {given[key]!r}")
        given[key] = {str(k): v for k, v in given.get(key, {}).items()}


_PLAIN = (str, int, float, Mapping, Sequence)
"""What a configuration holds; anything else was made by Hydra."""


def check_node(key: str, value: Any) -> None:
    """Check that ``value``, what a group of Hydra puts at ``key``, names what is to be made.

    Raises:
        UserError: it does not: often because the group was typed as a key, with dots for slashes.
    """
    if isinstance(value, Mapping) and isinstance(value.get("_target_"), str):
        return
    name = value if isinstance(value, str) and re.fullmatch(r"[\w/-]+", value) else "NAME"
    how = f"choose one with {key.replace('.', '/')}={name} on the command line, or in a defaults list"
    raise UserError(f"{key} must be a node with a _target_, got {value!r:.100}; {how}")


def check_grid(node: Mapping[str, Any]) -> None:
    """Check ``hydra.sweeper`` of the grid.

    Raises:
        UserError: a value of the wrong type.
    """
    if node.get("max_batch_size") is not None:
        _whole("max_batch_size", node["max_batch_size"], 1)
    if not isinstance(node.get("report", True), bool):
        raise UserError(f"hydra.sweeper.report must be true or false, got {node['report']!r}")
    if not isinstance(node.get("params") or {}, Mapping):
        raise UserError(f"hydra.sweeper.params must map keys to values, got {node['params']!r}")


def _directions(value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) or not isinstance(value, Sequence) else list(value)
    names = [str(getattr(v, "name", v)).lower() for v in values]
    for name in names:
        if name not in ("minimize", "maximize"):
            raise UserError(
                f"hydra.sweeper.direction must be minimize or maximize, or a list of them, got {name!r}; "
                + near(name, ["minimize", "maximize"])
            )
    if not names:
        raise UserError("hydra.sweeper.direction needs at least one objective, got an empty list")
    return tuple(names)


def _whole(key: str, value: Any, low: int, high: int | None = None) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        rule = f"an integer of at least {low}" if high is None else f"an integer from {low} to {high}"
        raise UserError(f"hydra.sweeper.{key} must be {rule}, got {value!r:.100}")
    return value


def _number(key: str, value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise UserError(f"hydra.sweeper.{key} must be a number from {low} to {high}, got {value!r}")
    return float(value)


def _confirm(value: Any) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d{0,3}):([1-9]\d{0,3})", value) if isinstance(value, str) else None
    if found is None or int(found[2]) < 2:
        rule = "configurations:seeds, such as 3:5 (quoted in YAML), of at least 1 and 2"
        raise UserError(f"hydra.sweeper.confirm must be {rule}, got {value!r:.100}")
    return int(found[1]), int(found[2])


def _seconds(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
        return float(value)
    found = re.fullmatch(r"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s?)?", str(value)) if value else None
    seconds = sum(int(n) * unit for n, unit in zip(found.groups("0"), (3600, 60, 1), strict=True)) if found else 0
    if seconds <= 0:
        raise UserError(f"hydra.sweeper.timeout must be seconds above 0 or text such as 90s, 15m, 1h30m, got {value!r}")
    return float(seconds)


def _retries(value: Any) -> Mapping[str, int]:
    if not isinstance(value, Mapping):
        return dict.fromkeys(CAUSES, _whole("retries", value, 0))
    if unknown := sorted(set(value) - set(CAUSES)):
        raise UserError(f"hydra.sweeper.retries.{unknown[0]} is not a cause: {near(str(unknown[0]), CAUSES)}")
    return {**CAUSES, **{k: _whole(f"retries.{k}", v, 0) for k, v in value.items()}}


def _check_name(given: Mapping[str, Any]) -> None:
    name = given.get("study_name")
    if name is not None and not (isinstance(name, str) and _is_name(name)):
        rule = "a text of 1 to 200 bytes without slashes or control characters, not beginning or ending with a space"
        raise UserError(f"hydra.sweeper.study_name must be {rule}, got {name!r}")
    storage = given.get("storage")
    if storage is not None and not (isinstance(storage, str) and "://" in storage):
        kinds = "journal:///file, sqlite:///file, postgresql://…, mysql://…, redis://…, grpc://host:port"
        raise UserError(f"hydra.sweeper.storage must be null or a URL ({kinds}), got {storage!r}")


def _is_name(text: str) -> bool:
    """Whether a study, and the file that it is in, can be called so."""
    size = len(text.encode(errors="replace"))  # a file's name may have 255 bytes, and its lock's is longer
    printable = not any(unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") or sign in "/\\" for sign in text)
    return printable and 1 <= size <= 200 and text == text.strip() and text not in (".", "..")


def _check_lists(given: Mapping[str, Any]) -> None:
    kinds = (
        ("enqueue", Mapping, "[{x: 1}]"),
        ("constraints", str, '["seconds <= 60"]'),
        ("learn_from", str, "[study]"),
    )
    for key, kind, example in kinds:
        value = given.get(key, [])
        if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(v, kind) for v in value):
            raise UserError(f"hydra.sweeper.{key} must be a list such as {example}, got {value!r}")
