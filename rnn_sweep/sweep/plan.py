"""A sweep as it was asked for, read and checked before anything of it exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rnn_sweep.errors import UserError
from rnn_sweep.storage import open_storage
from rnn_sweep.sweep import preflight, replicates, samplers
from rnn_sweep.sweep import study as studies
from rnn_sweep.sweep.conditions import Condition, ordered, parse_conditions
from rnn_sweep.sweep.constraints import Constraint, parse_constraints
from rnn_sweep.sweep.settings import Settings, parse_settings
from rnn_sweep.sweep.space import Space, parse_space
from rnn_sweep.sweep.suggest import Suggester, first_point

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


@dataclass(frozen=True)
class Plan:
    """A sweep that was checked, before anything of it exists."""

    settings: Settings
    suggester: Suggester
    constraints: list[Constraint]
    points: list[dict[str, Any]]
    """To try first."""
    remarks: list[str]
    seeds: list[int]
    """Of a trial's replicates; empty where a trial is one job."""

    @property
    def space(self) -> Space:
        """What is searched."""
        return self.suggester.space

    @property
    def conditions(self) -> Mapping[str, Sequence[Condition]]:
        """By the parameter that they are for."""
        return self.suggester.conditions


def make_plan(config: DictConfig, context: HydraContext, task: TaskFunction, arguments: Sequence[str]) -> Plan:
    """Read and check everything that can be checked without a study.

    Raises:
        UserError: something is wrong.
    """
    try:
        node: Any = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"hydra.sweeper: {' '.join(str(error).split())}") from None
    settings = parse_settings(node)
    space = parse_space(settings.params, arguments, context.config_loader)
    if not space.params and settings.custom_search_space is None:
        raise UserError(
            "there is nothing to search: neither hydra.sweeper.params nor the command line sweeps "
            "a parameter; try something like 'x=interval(0,1)'"
        )
    conditions = parse_conditions(settings.conditions, space)
    compose = preflight.composer(context.config_loader, config)
    defaults = compose(space.fixed)
    suggester = Suggester(space, conditions, defaults, _extender(settings.custom_search_space))
    ordered(space, conditions)
    preflight.check_conditions(suggester)
    preflight.check_corners(suggester, compose, getattr(task, "rnn_sweep_validate", None))
    if suggester.extend is not None:
        preflight.check_extender(suggester, compose)
    points = preflight.check_points(settings.enqueue, space)
    remarks: list[str] = []
    if settings.defaults_first and not samplers.is_grid(settings.sampler):
        first, remarks = first_point(suggester)
        points = [first, *points]
    seeds = replicates.seeds(suggester, settings.replicates)
    return Plan(settings, suggester, parse_constraints(settings.constraints), points, remarks, seeds)


def _extender(path: str | None) -> Any:
    if path is None:
        return None
    from hydra.utils import get_method

    try:
        return get_method(path)
    except Exception as error:  # whatever importing the user's module raises
        raise UserError(
            f"hydra.sweeper.custom_search_space={path} cannot be imported: {' '.join(str(error).split())}"
        ) from None


def make_sampler(plan: Plan, session: int) -> BaseSampler:
    """The sampler; ``session`` as in :func:`rnn_sweep.sweep.samplers.build_sampler`."""
    conditional = bool(plan.conditions)
    return samplers.build_sampler(
        plan.settings.sampler, plan.space, conditional, len(plan.settings.directions), session
    )


def check_study(settings: Settings, folder: Path, space: Space) -> None:
    """Check the stored study, where one of this name exists; creates no file.

    Raises:
        UserError: it cannot go on with these settings.
    """
    if settings.study_name is None:
        return
    url = studies.storage_url(settings, settings.study_name, folder)
    if not studies.is_new_file(url):
        studies.check_stored(open_storage(url), settings.study_name, settings, space)
