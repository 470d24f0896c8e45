"""Around a grid of jobs: compose and check every combination first, and record all of them under one parent run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from rnn_sweep import folders
from rnn_sweep.errors import UserError
from rnn_sweep.sweep.compose import cached
from rnn_sweep.sweep.space import quoted
from rnn_sweep.sweep.stop import Stop

Split = Callable[[Any, "int | None"], Sequence[Sequence[Sequence[str]]]]

IN_NAME = 120
"""Characters of the typed overrides that the parent run's name shows."""


@contextmanager
def recorded(
    task: TaskFunction, config: DictConfig, context: HydraContext, typed: list[str], split: Split
) -> Iterator[list[str]]:
    """Check a grid, open its parent run around the block, and yield the override that names the parent to the jobs.

    Args:
        task: the application's task function, with the hooks of :mod:`rnn_sweep.sweep.hooks`.
        config: Hydra's configuration of the sweep.
        context: whose loader composes the jobs.
        typed: the grid's overrides.
        split: takes parsed overrides to batches of jobs' overrides, as Hydra's basic sweeper does.

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
        parent = _begin(task, config, context, typed, fixed)
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
            _end(task, parent, {"reason": reason, "trials": len(jobs), "best": None})


def _end(task: TaskFunction, parent: str | None, summary: Mapping[str, Any]) -> None:
    """Close what jobs that died left open, and the parent run."""
    settle, end = getattr(task, "rnn_sweep_settle", None), getattr(task, "rnn_sweep_end", None)
    if settle is not None and parent is not None:
        settle(parent, set)
    if end is not None:
        end(parent, summary)


def _validate(validate: Callable[[DictConfig], None], cfg: DictConfig, job: Sequence[str]) -> None:
    try:
        validate(cfg)
    except UserError as error:
        raise UserError(f"{error} (in {' '.join(job)})") from None


def _begin(
    task: TaskFunction, config: DictConfig, context: HydraContext, typed: list[str], fixed: list[str]
) -> str | None:
    hook = getattr(task, "rnn_sweep_begin", None)
    if hook is None or "trial" not in config:
        return None
    defaults = context.config_loader.load_sweep_config(config, fixed)
    space = dict(line.partition("=")[::2] for line in typed if "=" in line)
    parent: str | None = hook(defaults, f"grid {' '.join(typed)}"[:IN_NAME], None, None, space)
    return parent
