"""Grids of jobs: every combination is composed and checked first, and all are recorded under one parent run."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from rnn_sweep import terminal
from rnn_sweep.errors import UserError
from rnn_sweep.provenance import program
from rnn_sweep.quoting import assigned, command_line, quoted
from rnn_sweep.run.signals import one_message
from rnn_sweep.sweep import grid_folder, job_folders
from rnn_sweep.sweep.config_cache import cached
from rnn_sweep.sweep.grid_folder import Earlier
from rnn_sweep.sweep.hooks import Hooks
from rnn_sweep.sweep.identity import KEY, prefix, takes_identity
from rnn_sweep.sweep.settings import check_grid, check_node
from rnn_sweep.sweep.signals import Stop
from rnn_sweep.sweep.space.grammar import check_nesting
from rnn_sweep.sweep.space.validate import composer

Split = Callable[[Any, "int | None"], Sequence[Sequence[Sequence[str]]]]

MOST_JOBS = 100_000

IN_NAME = 120
"""Characters of the typed overrides that the parent run's name shows."""


@dataclass(frozen=True)
class Job:
    """One combination."""

    overrides: Sequence[str]
    values: Mapping[str, Any]
    """Those of the keys that vary, by key."""


@dataclass(frozen=True)
class Grid:
    """What a report of a grid is made from, besides the folder of each job."""

    name: str
    folder: Path
    """``hydra.sweep.dir``."""
    jobs: Sequence[Job]
    """In the order of Hydra's numbers."""
    space: Mapping[str, str]
    """The keys that vary and their values, as typed."""
    objectives: Sequence[str]
    """Names of the values that a job returns; empty where the application tells none."""
    pages: Mapping[str, str] = field(default_factory=dict)
    """Where a browser shows what is recorded, see :mod:`rnn_sweep.sweep.hooks`."""


Tell = Callable[[Grid], Mapping[str, Any]]
"""Makes the report; returns what it adds to the summary that ``rnn_sweep_end`` gets, nothing where there is none."""


def check(config: DictConfig) -> None:
    """Check the settings of a grid before Hydra makes its launcher.

    Raises:
        SystemExit: 2, for a setting of the wrong type.
    """
    with one_message():
        check_node("hydra.launcher", config.hydra.launcher)
        check_grid(config.hydra.sweeper)


def check_countable(parsed: Sequence[Override]) -> None:
    """Check that what a grid sweeps has values that can be counted, and not too many.

    Raises:
        UserError: an interval, a sweep inside another one, or more combinations than :data:`MOST_JOBS`.
    """
    jobs = 1
    for override in parsed:
        check_nesting(override)
        if override.is_interval_sweep():
            rule = "a grid needs values that can be counted: choice or range; hydra/sweeper=optuna searches intervals"
            raise UserError(f"{override.get_key_element()}: {rule}, got {override.input_line!r}")
        if override.is_sweep_override():
            jobs *= _count(override)
        if jobs > MOST_JOBS:
            raise UserError(f"a grid may have {MOST_JOBS:,} jobs, got more with {override.input_line!r}")


def _count(override: Override) -> int:
    try:
        return sum(1 for _ in islice(override.sweep_iterator(), MOST_JOBS + 1))
    except (ValueError, HydraException) as error:  # such as a range whose step is 0
        raise UserError(f"{override.get_key_element()}: {error}, got {override.input_line!r}") from None


@dataclass(frozen=True)
class Recorded:
    """A grid that has been checked, and whose parent run is open."""

    identity: Sequence[str]
    """The override that names the parent to the jobs; none where there is no parent."""
    done: frozenset[int]
    """Numbers of the jobs that are not to be run."""


@contextmanager
def recorded(
    task: TaskFunction, config: DictConfig, context: HydraContext, typed: list[str], split: Split, tell: Tell | None
) -> Iterator[Recorded]:
    """Check a grid and open its parent run around the block; in the folder of a grid that was cut off, go on with it.

    Args:
        task: the application's task function, with the hooks of :mod:`rnn_sweep.sweep.hooks`.
        config: Hydra's configuration of the sweep.
        context: whose loader composes the jobs.
        typed: the grid's overrides.
        split: takes parsed overrides to batches of jobs' overrides, as Hydra's basic sweeper does.
        tell: makes the report of a grid that was not interrupted; None for none.

    Raises:
        SystemExit: 2, for a combination that the application refuses; no job was started. 128 + the signal's number
            after Ctrl-C or SIGTERM, which end the jobs.
    """
    terminal.show_jobs()
    loader, hooks = cached(context.config_loader), Hooks.of(task)
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(typed)
    with one_message():
        check_countable(parsed)
        jobs = [job for batch in split(parsed, None) for job in batch]
        generated = job_folders.is_generated(config)
        earlier = Earlier() if generated else grid_folder.look(Path(str(config.hydra.sweep.dir)))
        _check(hooks.validate, config, loader, jobs, earlier)
        job_folders.choose(config, earlier.owner, generated)
        fixed = [str(o.input_line) for o in parsed if not o.is_sweep_override() and not o.is_hydra_override()]
        defaults = _defaults(context.config_loader, config, fixed, jobs)
        given = [override.key_or_group for override in parsed]
        identity, _ = takes_identity(defaults, given, lambda lines: composer(loader, config)([*fixed, *lines]))
        hooks.check_recordable(defaults)
        names = hooks.objective_names(defaults) or ()
    with ExitStack() as stack:
        with one_message():
            done = _taken(stack, config, jobs, earlier, generated)
            name = f"grid {' '.join(typed)}"[:IN_NAME]
            parent = _begin(hooks, defaults, name, typed, earlier.parent_run_id) if identity else None
        grid = replace(_grid(name, config, jobs, parsed, names), pages=hooks.pages_of(parent))
        with _ending(hooks, parent, grid, tell):
            swept = ",".join(quoted(o.get_key_element()) for o in parsed if o.is_sweep_override())
            own = [f"{prefix(defaults)}{KEY}={{parent_run_id:{parent},swept:[{swept}]}}"] if parent else []
            yield Recorded(own, done)


def _taken(
    stack: ExitStack, config: DictConfig, jobs: Sequence[Sequence[str]], earlier: Earlier, generated: bool
) -> frozenset[int]:
    """Take the grid's folder, and say how it goes on; returns which jobs have ended there.

    Raises:
        UserError: another process runs the grid, or jobs of it.
    """
    own = earlier.owner or f"{grid_folder.OWNER}{secrets.token_hex(8)}"
    stack.enter_context(job_folders.held(config, own, generated))
    folder = Path(str(config.hydra.sweep.dir))
    stack.enter_context(grid_folder.alone(folder))
    if earlier.owner is None:
        where = assigned(job_folders.KEY, str(folder))
        print(f"grid:    {len(jobs)} jobs; cut off, it goes on by the same command with {where}", flush=True)
        return frozenset()
    grid_folder.wait_for_ends(earlier)
    done = frozenset(number for number, job in enumerate(jobs) if earlier.done(job))
    left = [job for number, job in enumerate(jobs) if number not in done]
    begun = sum(earlier.goes_on(job) for job in left)
    more = f", {begun} of them from a checkpoint" if begun else ""
    print(f"grid:    {len(done)} of {len(jobs)} done, {len(left)} to run{more}, in {folder}", flush=True)
    return done


@contextmanager
def _ending(hooks: Hooks, parent: str | None, grid: Grid, tell: Tell | None) -> Iterator[None]:
    """Around the jobs of a grid: whatever ends them, the parent run is closed."""
    reason = "failed"
    with Stop() as stop:
        try:
            with stop.raising():
                yield
            reason = "done"
        except KeyboardInterrupt:
            reason = "interrupted"
            raise SystemExit(stop.status) from None
        finally:
            if reason != "done":
                print(f"go on:   {_again(grid.folder)}")
            asked = tell is not None and reason != "interrupted"  # who stops a grid does not want to wait
            _end(hooks, parent, reason, grid, tell if asked else None)


def _again(folder: Path) -> str:
    """The command that goes on with the grid in ``folder``."""
    typed = [argument for argument in sys.argv[1:] if argument.partition("=")[0] != job_folders.KEY]
    return command_line([*program(), *typed, assigned(job_folders.KEY, str(folder))])


def _defaults(
    loader: ConfigLoader, config: DictConfig, fixed: Sequence[str], jobs: Sequence[Sequence[str]]
) -> DictConfig:
    """The configuration without what varies; that of the first job where the application leaves a group to the user."""
    try:
        return loader.load_sweep_config(config, list(fixed))
    except ConfigCompositionException:  # such as "You must specify 'db'"; each job was composed before
        return loader.load_sweep_config(config, list(jobs[0]))


def _grid(
    name: str, config: DictConfig, jobs: Sequence[Sequence[str]], parsed: Sequence[Override], objectives: Sequence[str]
) -> Grid:
    space = {o.get_key_element(): str(o.input_line).partition("=")[2] for o in parsed if o.is_sweep_override()}
    parser = OverridesParser.create()
    found = [
        Job(
            job,
            {o.get_key_element(): o.value() for o in parser.parse_overrides(list(job)) if o.get_key_element() in space},
        )
        for job in jobs
    ]
    return Grid(name, Path(str(config.hydra.sweep.dir)), found, space, objectives)


def _end(hooks: Hooks, parent: str | None, reason: str, grid: Grid, tell: Tell | None) -> None:
    """Close what jobs that died left open, tell what came out, and close the parent run."""
    if hooks.settle is not None and parent is not None:
        hooks.settle(parent, set)
    told = tell(grid) if tell is not None else {}
    page = hooks.close_parent(parent, {"reason": reason, "trials": len(grid.jobs), **told})
    if page is not None:
        print(page)


def _check(
    validate: Callable[[DictConfig], object] | None,
    config: DictConfig,
    loader: ConfigLoader,
    jobs: Sequence[Sequence[str]],
    earlier: Earlier,
) -> None:
    """Compose and check each combination, and that each has a folder of its own, in which is no other."""
    grid_folder.check_same(earlier, jobs, job_folders.is_numbered(config))
    numbered, taken = job_folders.is_numbered(config), dict[str, Sequence[str]]()
    for index, job in enumerate(jobs):
        cfg = loader.load_sweep_config(config, list(job))
        if validate is not None:
            _validate(validate, cfg, job)
        grid_folder.check_settings(earlier, job, cfg)
        own = None if numbered else job_folders.subdir(cfg, index)
        if own is not None and taken.setdefault(own, job) is not job:
            raise UserError(
                f"hydra.sweep.subdir must give each job a folder of its own, got {own!r} for {' '.join(taken[own])} "
                f"and for {' '.join(job)}; ${{hydra.job.num}} tells them apart"
            )


def _validate(validate: Callable[[DictConfig], object], cfg: DictConfig, job: Sequence[str]) -> None:
    try:
        validate(cfg)
    except UserError as error:
        raise UserError(f"{error} (in {' '.join(job)})") from None


def _begin(hooks: Hooks, defaults: DictConfig, name: str, typed: Sequence[str], known: str | None) -> str | None:
    """Open the parent run, or go on with the ``known`` one of the same grid."""
    if hooks.begin is None:
        return None
    space = dict(line.partition("=")[::2] for line in typed if "=" in line)
    parent = hooks.begin(defaults, name, None, known, space)
    if parent is not None:
        grid_folder.note_parent(Path(str(defaults.hydra.sweep.dir)), parent)
    return parent
