"""Schedules of settings: what a member of ``hydra/sweeper=pbt`` was trained with, replayed by a single run.

A file holds ``config``, the settings that hold throughout, and ``segments``: a list of ``{until, set}``, where ``set``
gives settings that hold up to the epoch ``until``. The run goes through them one after another, each from the
checkpoint of the one before, as the trials of the population did.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rnn_sweep.errors import UserError, near
from rnn_sweep.keys import keys_of
from rnn_sweep.run.hooks import Hooks
from rnn_sweep.run.segment import Segment, logged
from rnn_sweep.run.settings import NODE, Composed, composed, is_nested

OWN = ("trial", "tracking")
"""Nodes of a configuration that a file does not bring: where a run is recorded is the run's."""


@dataclass(frozen=True)
class Part:
    """A segment with the configuration of its epochs."""

    config: Any
    segment: Segment


def filled_in(found: Composed, hooks: Hooks, typed: Sequence[str]) -> Composed:
    """The configuration with the content of the schedule file that it names; as it is where it names none.

    Args:
        found: as composed.
        hooks: of the application.
        typed: overrides, whose settings stand over those of the file.

    Raises:
        UserError: the file cannot be read, or something was typed that is no setting.
    """
    key = hooks.schedule
    name = None if key is None else OmegaConf.select(_tree(found.config), key)
    if key is None or not isinstance(name, str):
        return found
    content = read(key, name)
    given = _tree(found.config)
    whole, own = copy.deepcopy(given), f"{NODE}." if is_nested(given) else ""
    mine = {key, *(f"{own}{node}" for node in OWN)}
    typed_keys = [line.lstrip("+").partition("=")[0] for line in typed]
    for each, line in zip(typed_keys, typed, strict=True):
        if each not in set(keys_of(given)):
            raise UserError(f"{key}={name} brings its settings, beside it single ones may stand; got {line}")
    for each, value in content["config"].items():
        OmegaConf.update(whole, each, value, merge=False, force_add=True)
    for each in (*mine, *typed_keys):
        OmegaConf.update(whole, each, OmegaConf.select(given, each), merge=False, force_add=True)
    OmegaConf.update(whole, key, content["segments"], merge=False, force_add=True)
    try:
        return _composed(whole, hooks)
    except UserError as error:
        raise UserError(f"{key}={name} does not fit: {error}") from None


def _tree(config: Any) -> DictConfig:
    """A configuration as the application got it, to be changed."""
    return copy.deepcopy(config) if isinstance(config, DictConfig) else OmegaConf.create(copy.deepcopy(dict(config)))


def _composed(tree: DictConfig, hooks: Hooks) -> Composed:
    plain: Any = tree if hooks.parse is None else OmegaConf.to_container(tree, resolve=True)
    return composed(plain, hooks)


def read(key: str, name: str) -> dict[str, Any]:
    """A schedule file, as far as it can be checked by itself.

    Raises:
        UserError: it is none.
    """
    import yaml

    try:
        content = yaml.safe_load(Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())[:200]
        raise UserError(f"{key} must be a schedule file, got {name!r}: {reason}") from None
    if not isinstance(content, dict) or not {"config", "segments"} <= content.keys():
        raise UserError(f"{key} must be a schedule file with config and segments, got {name!r}")
    if not isinstance(content["config"], dict):
        raise UserError(f"{key}={name}: config must be a mapping of settings, got {content['config']!r:.100}")
    check(f"{key}={name}: segments", content["segments"])
    return content


def check(where: str, segments: Any) -> None:
    """Check that ``segments`` is a list of ``{until, set}``, the epochs rising. Raises :class:`UserError`."""
    rule = f"{where} must be a list such as [{{until: 2, set: {{optimizer.lr: 0.01}}}}]"
    if not isinstance(segments, list | tuple) or not segments:
        raise UserError(f"{rule}, got {segments!r:.100}")
    before = 0
    for segment in segments:
        fits = isinstance(segment, Mapping) and segment.keys() == {"until", "set"}
        if not fits or type(segment["until"]) is not int or not isinstance(segment["set"], Mapping):
            raise UserError(f"{rule}, got {segment!r:.100}")
        if segment["until"] <= before:
            raise UserError(f"{where}: until must rise from 1 on, got {segment['until']} after {before}")
        before = segment["until"]


def parts(found: Composed, hooks: Hooks) -> list[Part]:
    """The segments of a configuration with a schedule; none where it has none.

    Raises:
        UserError: the schedule does not fit the configuration.
    """
    key = hooks.schedule
    tree = _tree(found.config)
    segments = None if key is None else OmegaConf.select(tree, key)
    if key is None or segments is None:
        return []
    plain: Any = OmegaConf.to_container(segments) if OmegaConf.is_config(segments) else segments
    check(key, plain)
    _check_length(key, plain, tree, hooks)
    keys = sorted({name for segment in plain for name in segment["set"]})
    known = set(keys_of(tree))
    for name in keys:
        if name not in known:
            raise UserError(f"{key}: {name} is not in the configuration; {near(name, known)}")
        if not any(fnmatchcase(name, pattern) for pattern in hooks.mutable):
            rule = f"{key} can change {', '.join(hooks.mutable) or 'nothing'} while a network is trained"
            raise UserError(f"{rule}, got {name}")
    return _made(plain, keys, found, hooks)


def _check_length(key: str, segments: Sequence[Mapping[str, Any]], tree: Any, hooks: Hooks) -> None:
    total = OmegaConf.select(tree, hooks.further[0]) if hooks.further else None
    last = segments[-1]["until"]
    if total is not None and last > total:
        raise UserError(f"{key} goes on until epoch {last}, more than {hooks.further[0]}={total}")


def _made(segments: Sequence[Mapping[str, Any]], keys: Sequence[str], found: Composed, hooks: Hooks) -> list[Part]:
    made, start = [], 0
    for segment in segments:
        tree = _tree(found.config)
        for name, value in segment["set"].items():
            OmegaConf.update(tree, name, value)
        config = _composed(tree, hooks).config
        if hooks.check is not None:
            hooks.check(config, None)
        until = segment["until"]
        made.append(Part(config, Segment(start, until, logged(config, keys), segment is not segments[-1])))
        start = until
    return made


def left(parts: Sequence[Part], done: int) -> Sequence[Part]:
    """The segments that a run goes on with after ``done`` epochs; the last where it has been through all."""
    return [part for part in parts if part.segment.until > done] or parts[-1:]
