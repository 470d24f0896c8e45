"""A sweep as it was asked for, read and checked before anything of it exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_loader import ConfigLoader
from hydra.types import HydraContext
from omegaconf import DictConfig

from rnn_sweep.errors import UserError
from rnn_sweep.storage import open_storage
from rnn_sweep.storage.location import is_new_file
from rnn_sweep.sweep import compatibility, evolution, replicates, samplers
from rnn_sweep.sweep import study as studies
from rnn_sweep.sweep.confirm import Confirm, confirmation
from rnn_sweep.sweep.constraints import Constraint, check_metrics, parse_constraints
from rnn_sweep.sweep.directions import check_objectives, derived
from rnn_sweep.sweep.evolution import Evolution
from rnn_sweep.sweep.fingerprint import Fingerprints, fingerprints
from rnn_sweep.sweep.hooks import Hooks
from rnn_sweep.sweep.identity import prefix, takes_identity
from rnn_sweep.sweep.job_folders import Place, placer
from rnn_sweep.sweep.node import read_node
from rnn_sweep.sweep.settings import Settings, parse_settings
from rnn_sweep.sweep.space import validate
from rnn_sweep.sweep.space.conditions import Condition, ordered, parse_conditions
from rnn_sweep.sweep.space.grammar import parse_space
from rnn_sweep.sweep.space.parameters import Space, bare
from rnn_sweep.sweep.space.suggest import Suggester, first_point

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

    from rnn_sweep.sweep.auto import Choice

NO_REUSE = (
    "hydra.sweeper.reuse=true has no effect: the application does not say that it is deterministic, as "
    "rnn_sweep.main(deterministic=True) does"
)


@dataclass(frozen=True)
class Plan:
    """A sweep that was checked, before anything of it exists."""

    settings: Settings
    suggester: Suggester
    constraints: list[Constraint]
    points: list[dict[str, Any]]
    """To try first."""
    remarks: list[str]
    """To be said when it begins."""
    seeds: list[int]
    """Of a trial's replicates; empty where a trial is one job."""
    place: Place
    """Gives a job a folder of its own."""
    identity: bool
    """Whether jobs are told which trial they are."""
    heeds: bool
    """Whether jobs end early when they are asked to."""
    prefix: str
    """What stands before the keys ``trial`` and ``seed``."""
    fingerprints: Fingerprints | None = None
    """None where a configuration does not decide an outcome."""
    confirm: Confirm | None = None
    """What is trained again at the end."""
    auto: Choice | None = None
    """The sampler that ``sampler=auto`` has chosen."""
    history: Sequence[FrozenTrial] = ()
    """Trials of other studies that the sampler learns from, see :mod:`rnn_sweep.sweep.learning`."""
    learnt: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Of ``learn_from``: numbers of the trials that were taken, by study."""
    evolution: Evolution | None = None
    """How a population evolves, where the sweep is one."""

    @property
    def reuses(self) -> bool:
        """Whether a configuration that was run is not run again."""
        return self.fingerprints is not None and self.settings.reuse is not False

    @property
    def space(self) -> Space:
        """What is searched."""
        return self.suggester.space

    @property
    def conditions(self) -> Mapping[str, Sequence[Condition]]:
        """By the parameter that they are for."""
        return self.suggester.conditions


def make_plan(config: DictConfig, context: HydraContext, hooks: Hooks, arguments: Sequence[str]) -> Plan:
    """Read and check everything that can be checked without a study.

    Raises:
        UserError: something is wrong.
    """
    node = read_node(config)
    evolves = evolution.is_asked_for(node)
    settings = parse_settings({k: v for k, v in node.items() if not evolves or k not in evolution.KEYS})
    compose = validate.composer(context.config_loader, config)
    suggester = _suggester(settings, arguments, config, context.config_loader, compose)
    space, defaults = suggester.space, suggester.defaults
    settings, remarks = _directed(settings, node, hooks.objective_names(defaults))
    constraints = parse_constraints(settings.constraints)
    evolving = evolution.parse_evolution(node, settings, suggester, hooks.segments) if evolves else None
    _check(settings.sampler, suggester, constraints, context.config_loader, compose, hooks)
    points = validate.check_points(settings.enqueue, space)
    if settings.defaults_first:
        first, outside = first_point(suggester)
        remarks += [f"trial 0: {remark}" for remark in outside]
        points = [first, *points]
    seeds = replicates.seeds(suggester, settings.replicates, prefix(defaults))
    given = [bare(line).partition("=")[0] for line in (*space.fixed, *space.params)]
    identity, own = takes_identity(defaults, given, lambda lines: compose([*space.fixed, *lines]))
    known = None if evolves else fingerprints(config, context.config_loader, hooks.deterministic, seeds)
    if evolving is not None:
        evolving = evolution.with_points(evolving, points, identity=identity, objectives=len(settings.directions))
        settings, points = replace(settings, n_trials=evolving.segments), []
    return Plan(
        settings,
        suggester,
        constraints,
        points,
        [*remarks, *own, *([NO_REUSE] if settings.reuse and known is None else [])],
        seeds,
        placer(config, context.config_loader),
        identity,
        identity and hooks.heeds_stop,
        prefix(defaults),
        known,
        confirmation(settings, suggester, prefix(defaults), samplers.size(settings.sampler, suggester)),
        evolution=evolving,
    )


def _suggester(
    settings: Settings, arguments: Sequence[str], config: DictConfig, loader: ConfigLoader, compose: validate.Compose
) -> Suggester:
    """What is searched: the space of the settings and of the command line."""
    space = parse_space(settings.params, arguments, loader)
    if not space.params and settings.custom_search_space is None:
        raise UserError(
            "there is nothing to search: neither hydra.sweeper.params nor the command line sweeps "
            "a parameter; try something like 'x=interval(0,1)', or 'seed=range(0,5)' to run the same several times"
        )
    conditions = parse_conditions(settings.conditions, space)
    defaults = compose([*space.fixed, *_mandatory(space, config, loader)])
    return Suggester(space, conditions, defaults, _extender(settings.custom_search_space))


def _directed(
    settings: Settings, node: Mapping[str, Any], objectives: Sequence[str] | None
) -> tuple[Settings, list[str]]:
    """The settings with a direction for each objective, and what is to be said of one that nobody chose."""
    remarks: list[str] = []
    if node.get("direction") is None:
        directions, remarks = derived(objectives)
        settings = replace(settings, directions=directions)
    check_objectives(settings.directions, objectives)
    return settings, remarks


def _check(
    sampler: Any,
    suggester: Suggester,
    constraints: Sequence[Constraint],
    loader: ConfigLoader,
    compose: validate.Compose,
    hooks: Hooks,
) -> None:
    """What composing the application's configuration shows to be wrong."""
    ordered(suggester.space, suggester.conditions)
    validate.check_conditions(suggester, loader)
    validate.check_corners(suggester, compose, hooks.validate)
    samplers.check_countable(sampler, {p.key: p.distribution for p in suggester.space.params.values()})
    if suggester.extend is not None:
        samplers.check_countable(sampler, validate.check_extender(suggester, compose))
    metrics = hooks.metric_names(suggester.defaults)
    if metrics is not None:
        check_metrics(constraints, metrics)


def _mandatory(space: Space, config: DictConfig, loader: ConfigLoader) -> list[str]:
    """The first option of each searched group without a default, which is left to the user (``db: ???``)."""
    chosen = config.hydra.runtime.choices
    params = [param for param in space.params.values() if chosen.get(bare(param.key)) in (None, "???")]
    return [each.override(each.corners()[0]) for each in params if each.texts and loader.get_group_options(each.group)]


def _extender(path: str | None) -> Any:
    """The function at ``path``, which Hydra allows as it does what ``instantiate`` calls: not ``os.system``.

    No whitelist is given here: from Hydra 1.4 on the application's own decides (``hydra.main``'s
    ``execution_whitelist``).
    """
    if path is None:
        return None
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        return instantiate({"_target_": path, "_partial_": True})
    except InstantiationException as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise UserError(f"hydra.sweeper.custom_search_space={path} cannot be used: {reason}") from None


def make_sampler(plan: Plan, session: int = 0, study: str = "") -> BaseSampler:
    """The sampler; arguments as in :func:`rnn_sweep.sweep.samplers.build_sampler`."""
    directions = len(plan.settings.directions)
    sampler = samplers.build_sampler(plan.settings.sampler, plan.suggester, directions, session, study)
    if not plan.history:
        return sampler
    from rnn_sweep.sweep.learner import Learner

    return Learner(sampler, plan.history)


def check_study(plan: Plan, folder: Path, objectives: Sequence[str] | None) -> Study | None:
    """Check the stored study, where one of this name exists; creates no file.

    Args:
        plan: of the sweep.
        folder: what relative storages are relative to.
        objectives: names of the values that a job returns, where the application tells them.

    Returns:
        The study, None where there is none yet.

    Raises:
        UserError: it cannot go on with these settings.
    """
    import optuna

    name = plan.settings.study_name
    if name is None:
        return None
    url = studies.storage_url(plan.settings, name, folder)
    if is_new_file(url):
        return None
    storage = open_storage(url)
    if studies.find(storage, name) is None:
        return None
    study = optuna.load_study(study_name=name, storage=storage)
    compatibility.check(study, plan.settings, plan.space, objectives)
    compatibility.check_population(study, plan.evolution)
    return study
