"""Around a grid of jobs: compose and check every combination first, and record all of them under one parent run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from rnn_sweep import folders
from rnn_sweep.errors import UserError
from rnn_sweep.sweep import hooks
from rnn_sweep.sweep.compose import cached
from rnn_sweep.sweep.space import quoted
from rnn_sweep.sweep.stop import Stop

Split = Callable[[Any, "int | None"], Sequence[Sequence[Sequence[str]]]]

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
    since: float
    """When it began, in seconds since the epoch."""


Tell = Callable[[Grid], Mapping[str, Any]]
"""Makes the report; returns what it adds to the summary that ``rnn_sweep_end`` gets, nothing where there is none."""


@contextmanager
def recorded(
    task: TaskFunction, config: DictConfig, context: HydraContext, typed: list[str], split: Split, tell: Tell | None
) -> Iterator[list[str]]:
    """Check a grid, open its parent run around the block, and yield the override that names the parent to the jobs.

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
    loader = cached(context.config_loader)
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(typed)
    jobs = [job for batch in split(parsed, None) for job in batch]
    swept = [quoted(override.get_key_element()) for override in parsed if override.is_sweep_override()]
    try:
        validate = getattr(task, "rnn_sweep_validate", None)
        for job in jobs:
            cfg = loader.load_sweep_config(config, list(job))
            if validate is not None:
                _validate(validate, cfg, job)
        folders.check("hydra.sweep.dir", str(config.hydra.sweep.dir))
        fixed = [str(o.input_line) for o in parsed if not o.is_sweep_override() and not o.is_hydra_override()]
        defaults = context.config_loader.load_sweep_config(config, fixed)
        name = f"grid {' '.join(typed)}"[:IN_NAME]
        parent = _begin(task, defaults, name, typed)
        grid = _grid(name, config, jobs, parsed, hooks.objectives(task, defaults) or ())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    reason = "failed"
    with Stop() as stop:
        try:
            with stop.raising():
                yield [f"trial={{parent_run_id:{parent},swept:[{','.join(swept)}]}}"] if parent else []
            reason = "done"
        except KeyboardInterrupt:
            reason = "interrupted"
            raise SystemExit(stop.status) from None
        finally:
            asked = tell is not None and reason != "interrupted"  # who stops a grid does not want to wait
            _end(task, parent, reason, grid, tell if asked else None)


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
    return Grid(name, Path(str(config.hydra.sweep.dir)), found, space, objectives, time.time())


def _end(task: TaskFunction, parent: str | None, reason: str, grid: Grid, tell: Tell | None) -> None:
    """Close what jobs that died left open, tell what came out, and close the parent run."""
    settle, end = getattr(task, "rnn_sweep_settle", None), getattr(task, "rnn_sweep_end", None)
    if settle is not None and parent is not None:
        settle(parent, set)
    told = tell(grid) if tell is not None else {}
    if end is not None:
        end(parent, {"reason": reason, "trials": len(grid.jobs), **told})


def _validate(validate: Callable[[DictConfig], None], cfg: DictConfig, job: Sequence[str]) -> None:
    try:
        validate(cfg)
    except UserError as error:
        raise UserError(f"{error} (in {' '.join(job)})") from None


def _begin(task: TaskFunction, defaults: DictConfig, name: str, typed: Sequence[str]) -> str | None:
    hook = getattr(task, "rnn_sweep_begin", None)
    if hook is None or "trial" not in defaults:
        return None
    space = dict(line.partition("=")[::2] for line in typed if "=" in line)
    parent: str | None = hook(defaults, name, None, None, space)
    return parent
