"""Validation before the first trial: the corners of the space are composed, so that mistakes show at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.config_loader import ConfigLoader
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rnn_sweep.errors import UserError, near
from rnn_sweep.keys import keys_of
from rnn_sweep.sweep.space.grammar import choice
from rnn_sweep.sweep.space.parameters import Label, Param, Space, bare
from rnn_sweep.sweep.space.suggest import Suggester

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MOST_POINTS = 150
"""Corner points composed at most: a second or two."""

Compose = Callable[[Sequence[str]], DictConfig]


def composer(loader: ConfigLoader, master: DictConfig) -> Compose:
    """A function that composes a job's configuration from its overrides, or says readably why it cannot."""

    def compose(overrides: Sequence[str]) -> DictConfig:
        try:
            return loader.load_sweep_config(master, list(overrides))
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise UserError(_explain(error, overrides, master)) from None

    return compose


def _explain(error: Exception, overrides: Sequence[str], master: DictConfig) -> str:
    parts = [str(error), str(error.__cause__ or "")]
    message = " ".join(" ".join(re.split("See https://|Config search path:", p)[0].split()) for p in parts if p).strip()
    unknown = [line for line in overrides if _unknown(line, master)]
    if unknown:
        key = unknown[0].partition("=")[0]
        return f"{key} is not in the configuration: {near(key, keys_of(master))}. {message}"
    return f"this configuration cannot be composed: {' '.join(overrides)}: {message}"


def _unknown(line: str, master: DictConfig) -> bool:
    key = line.partition("=")[0]
    if key.startswith(("+", "~")) or "@" in key or key.partition("/")[0] != key:
        return False
    return key not in set(keys_of(master)) and key not in master.hydra.runtime.choices


def corners(suggester: Suggester) -> Iterator[list[str]]:
    """Overrides of the corner points: the fixed ones, and one parameter at a time at an end or a choice.

    A conditional parameter comes with what its conditions ask for; one whose conditions cannot hold does not
    come.
    """
    for param in suggester.space.params.values():
        for value in param.corners():
            lines = {bare(param.key): param.override(value)}
            if _hold(param, lines, suggester):
                yield [*suggester.space.fixed, *lines.values()]


def _hold(param: Param, lines: dict[str, str], suggester: Suggester) -> bool:
    """Add overrides to ``lines`` that make the conditions of ``param`` hold; False where no corner does."""
    by_name = {bare(key): p for key, p in suggester.space.params.items()}
    for condition in suggester.conditions.get(param.key, ()):
        if condition.key in lines:
            continue
        parent = by_name.get(condition.key)
        if parent is None:
            if not condition.allows(suggester.default(condition.key)):
                return False
            continue
        fitting = [value for value in parent.corners(10_000) if condition.allows(value)]
        if not fitting and parent.texts and condition.key not in suggester.space.typed:
            rule = f"is never true, {parent.key} is one of {', '.join(parent.texts.values())}"
            raise UserError(f"hydra.sweeper.conditions.{bare(param.key)}: {condition.text!r} {rule}")
        if not fitting:
            return False  # an inner part of an interval, or values that were typed over a file's: no mistake
        lines[condition.key] = parent.override(fitting[0])
        if not _hold(parent, lines, suggester):
            return False
    return True


def check_conditions(suggester: Suggester, loader: ConfigLoader) -> None:
    """Check that what the conditions ask about exists.

    Raises:
        UserError: a key that is neither searched nor in the configuration, or an option that its group has not.
    """
    defaults = suggester.defaults
    known = {bare(key) for key in suggester.space.params} | set(keys_of(defaults))
    choices = set(defaults.hydra.runtime.choices)
    known |= choices
    for key, checks in suggester.conditions.items():
        for condition in checks:
            if condition.key not in known:
                where = f"hydra.sweeper.conditions.{bare(key)}: {condition.text!r}"
                raise UserError(f"{where}: {condition.key} is not in the configuration; {near(condition.key, known)}")
            options = loader.get_group_options(condition.key) if condition.key in choices else []
            if options and not any(map(condition.allows, options)):
                wanted = condition.text.partition("=")[2]
                where = f"hydra.sweeper.conditions.{bare(key)}: {condition.text!r}"
                raise UserError(f"{where}: {condition.key} has no such option; {near(wanted, options)}")


def check_corners(suggester: Suggester, compose: Compose, validate: Callable[[DictConfig], object] | None) -> None:
    """Compose and, where the application has a validator, validate the corner points.

    Raises:
        UserError: one of them is not a valid configuration; the message names its overrides.
    """
    for count, overrides in enumerate(corners(suggester)):
        if count >= MOST_POINTS:
            return
        cfg = compose(overrides)
        if validate is None:
            continue
        try:
            validate(without_hydra(cfg))
        except UserError as error:
            raise UserError(f"{' '.join(overrides)}: {error}") from None


def check_extender(suggester: Suggester, compose: Compose) -> Mapping[str, BaseDistribution]:
    """Try the user's ``custom_search_space`` on a trial in memory.

    Returns:
        The trial's distributions.

    Raises:
        UserError: it raises, suggests what is fixed, or what cannot be composed.
    """
    import optuna

    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(0)).ask()
    try:
        overrides = suggester.overrides(trial)
    except Exception as error:  # the user's own code
        raise UserError(f"hydra.sweeper.custom_search_space: {type(error).__name__}: {error}") from None
    fixed = {bare(line).partition("=")[0] for line in suggester.space.fixed}
    if both := sorted(fixed & {bare(name) for name in trial.params}):
        raise UserError(f"hydra.sweeper.custom_search_space suggests {both[0]}, which is fixed; leave one of them out")
    compose(overrides)
    return trial.distributions


def without_hydra(cfg: DictConfig) -> DictConfig:
    """What a task function gets of a composed configuration."""
    return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])


def check_points(points: Sequence[Mapping[str, Any]], space: Space) -> list[dict[str, Label]]:
    """Check ``hydra.sweeper.enqueue`` against the space.

    Returns:
        The points with the keys of the space and values that a study understands.

    Raises:
        UserError: a key that is not searched, or a value outside of its range.
    """
    by_name = {bare(key): param for key, param in space.params.items()}
    result = []
    for i, point in enumerate(points):
        checked: dict[str, Label] = {}
        for key, value in point.items():
            if bare(str(key)) not in by_name:
                raise UserError(f"hydra.sweeper.enqueue[{i}]: {key!r} is not searched; {near(str(key), by_name)}")
            param = by_name[bare(str(key))]
            checked[param.key] = inside(param, value, f"hydra.sweeper.enqueue[{i}].{key}")
        result.append(checked)
    return result


def inside(param: Param, value: Any, where: str) -> Label:
    """Check the value of a parameter; returns it as a study understands it.

    Args:
        param: whose value it is.
        value: as Hydra's grammar or YAML has read it.
        where: what the message begins with.

    Raises:
        UserError: it is outside of the parameter's range.
    """
    if param.texts:
        if isinstance(value, list | dict):
            (value,) = choice("", [value], "").texts.values()
        for label, text in param.texts.items():
            if value in (label, text) and isinstance(value, bool) == isinstance(label, bool):
                return label
        raise UserError(f"{where} must be one of {', '.join(param.texts.values())}, got {value!r}")
    dist: Any = param.distribution
    if not param.contains(value):
        raise UserError(f"{where} must be {param.describe()}, got {value!r}")
    result: Label = type(dist.low)(value)
    return result
