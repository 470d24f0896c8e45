"""The settings of ``hydra/sweeper=pbt``, read and checked before anything of a sweep exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from rnn_sweep.errors import UserError, near
from rnn_sweep.sweep.settings import Settings
from rnn_sweep.sweep.space.parameters import Space, bare
from rnn_sweep.sweep.space.suggest import Suggester

KEYS = ("population", "interval", "epochs", "quantile", "perturb", "resample_probability", "mutable")
_HEAD = "hydra.sweeper"
_RANDOM = "optuna.samplers.RandomSampler"


@dataclass(frozen=True)
class Evolution:
    """How a population evolves."""

    population: int
    """Members."""
    interval: int
    """Epochs of a segment, after which a member looks at the others."""
    epochs: int
    """Of a member in total."""
    quantile: float
    """Part of the members that copy, and part that are copied."""
    perturb: tuple[float, ...]
    """Factors, one of which a mutable number is multiplied with after a copy."""
    resample_probability: float
    """How probable it is, for each mutable parameter after a copy, that it is drawn anew instead."""
    mutable: tuple[str, ...]
    """The mutable ones among the parameters of the space, by their names there."""
    seed: str
    """What all random choices derive from, with the member and its generation; empty: the study's identity."""
    schedule: str | None = None
    """The application's setting that replays a schedule."""
    points: Sequence[Mapping[str, Any]] = ()
    """Where the first members begin; the others are drawn."""

    @property
    def generations(self) -> int:
        """Segments of a member."""
        return self.epochs // self.interval

    @property
    def segments(self) -> int:
        """The budget, in trials."""
        return self.population * self.generations

    def described(self) -> dict[str, Any]:
        """What must stay the same where a study goes on."""
        return {"population": self.population, "interval": self.interval, "epochs": self.epochs}

    def noted(self) -> dict[str, Any]:
        """What is noted on the study."""
        return {**self.described(), "schedule": self.schedule}


def is_asked_for(node: Mapping[str, Any]) -> bool:
    """Whether the node ``hydra.sweeper`` is that of a population."""
    return "population" in node


def parse_evolution(
    node: Mapping[str, Any], settings: Settings, suggester: Suggester, told: Mapping[str, Any] | None
) -> Evolution:
    """Read the settings of a population.

    Args:
        node: the resolved node ``hydra.sweeper``.
        settings: what was read of it already.
        suggester: of the sweep.
        told: what the application says of its runs, the hook ``rnn_sweep_segments``; None where its runs cannot go on
            from another's checkpoint.

    Raises:
        UserError: something does not fit.
    """
    if told is None:
        raise UserError(f"{_HEAD}=pbt needs a training function under rnn_sweep.main: others cannot copy a checkpoint")
    _check_others(settings)
    population, interval = _whole(node, "population", 4), _whole(node, "interval", 1)
    epochs = _epochs(node, suggester, told["epochs"])
    if interval > epochs or epochs % interval:
        raise UserError(f"{_HEAD}.interval must divide the {epochs} epochs of a run, got {interval}")
    perturb = node.get("perturb")
    numbers = perturb if isinstance(perturb, list) else []
    if not numbers or not all(_is_number(each) and each > 0 for each in numbers):
        raise UserError(f"{_HEAD}.perturb must be a list of factors above 0 such as [0.8, 1.25], got {perturb!r}")
    seed = (settings.sampler or {}).get("seed")
    return Evolution(
        population,
        interval,
        epochs,
        _part(node, "quantile", 0.5),
        tuple(float(each) for each in numbers),
        _part(node, "resample_probability", 1.0),
        _mutable(node.get("mutable"), suggester, told["mutable"]),
        "" if seed is None else str(seed),
        told["schedule"],
    )


def with_points(
    evolution: Evolution, points: Sequence[Mapping[str, Any]], *, identity: bool, objectives: int
) -> Evolution:
    """The same with points to begin at.

    Raises:
        UserError: there are more of them than members, jobs are not told which trial they are, or there are several
            objectives.
    """
    if not identity:
        raise UserError("hydra/sweeper=pbt tells its jobs what to go on from: the application needs `trial: null`")
    if objectives != 1:
        raise UserError(f"hydra/sweeper=pbt compares members by one objective, got {objectives}")
    if len(points) > evolution.population:
        rule = f"{_HEAD}.population={evolution.population} must be at least the number of points to begin at"
        raise UserError(f"{rule} (enqueue, and trial 0 with defaults_first), got {len(points)}")
    return replace(evolution, points=points)


def _check_others(settings: Settings) -> None:
    """What other settings of a sweep must be."""
    sampler = settings.sampler
    if sampler is not None and (not isinstance(sampler, Mapping) or sampler.get("_target_") != _RANDOM):
        name = sampler.get("_target_") if isinstance(sampler, Mapping) else sampler
        raise UserError(
            f"hydra/sweeper=pbt draws its first members: hydra/sweeper/sampler must be random, got {name!r}"
        )
    pruner = settings.pruner
    if pruner is not None and str(pruner.get("_target_")) != "optuna.pruners.NopPruner":
        raise UserError(f"hydra/sweeper=pbt copies instead of pruning: leave out the pruner {pruner.get('_target_')!r}")
    given = {
        "replicates": settings.replicates != 1,
        "constraints": bool(settings.constraints),
        "confirm": settings.confirm is not None,
        "learn_from": bool(settings.learn_from),
        "custom_search_space": settings.custom_search_space is not None,
        "n_trials": settings.n_trials != Settings.n_trials,
    }
    for key, is_given in given.items():
        if is_given:
            rule = "its trials are population times epochs / interval" if key == "n_trials" else "leave it out"
            raise UserError(f"{_HEAD}.{key} is no setting of hydra/sweeper=pbt: {rule}")


def _epochs(node: Mapping[str, Any], suggester: Suggester, key: str | None) -> int:
    if node.get("epochs") is not None:
        return _whole(node, "epochs", 1)
    if key is None:
        raise UserError(f"{_HEAD}.epochs must be the number of epochs of a run: this application does not tell it")
    if key in {bare(each) for each in suggester.space.params}:
        raise UserError(f"{key} cannot be searched by hydra/sweeper=pbt: all members have the same number of epochs")
    found = suggester.default(key)
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise UserError(f"{_HEAD}.epochs must be the number of epochs of a run, got {key}={found!r}")
    return found


def _mutable(given: Any, suggester: Suggester, patterns: Sequence[str]) -> tuple[str, ...]:
    """The parameters that are changed after a copy: those given, or those that fit the application's patterns."""
    space = suggester.space
    by_name = {bare(key): key for key in space.params}
    if given is None:
        names = [name for name in by_name if any(fnmatchcase(name, each) for each in patterns)]
    elif isinstance(given, list) and all(isinstance(name, str) for name in given):
        names = [str(name) for name in given]
    else:
        raise UserError(f"{_HEAD}.mutable must be a list of searched keys, or null, got {given!r}")
    for name in names:
        if name not in by_name:
            raise UserError(f"{_HEAD}.mutable: {name} is not searched; {near(name, by_name)}")
        if given is not None and patterns and not any(fnmatchcase(name, each) for each in patterns):
            rule = f"this application can change {', '.join(patterns)} of a network that was trained for a while"
            raise UserError(f"{_HEAD}.mutable: {rule}, got {name}")
    for key, checks in suggester.conditions.items():
        for name in names:
            if name in (bare(key), *(check.key for check in checks)):
                raise UserError(f"{_HEAD}.conditions.{bare(key)}: {name} changes while it is trained, got a condition")
    if not names:
        raise UserError(_nothing(space, patterns))
    return tuple(by_name[name] for name in names)


def _nothing(space: Space, patterns: Sequence[str]) -> str:
    searched = ", ".join(bare(key) for key in space.params)
    if not patterns:
        rule = f"{_HEAD}.mutable must name parameters that may change while a network is trained"
        return f"{rule}, such as the learning rate; searched: {searched}"
    return f"hydra/sweeper=pbt has nothing to change: none of {searched} is one of {', '.join(patterns)}"


def _whole(node: Mapping[str, Any], key: str, least: int) -> int:
    value = node.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{_HEAD}.{key} must be an integer of at least {least}, got {value!r:.100}")
    return value


def _part(node: Mapping[str, Any], key: str, most: float) -> float:
    value: Any = node.get(key)
    if not _is_number(value) or not 0 <= value <= most:
        raise UserError(f"{_HEAD}.{key} must be a number from 0 to {most:g}, got {value!r:.100}")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
