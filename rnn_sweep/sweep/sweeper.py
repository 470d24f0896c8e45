"""A whole sweep: check, make the study, run the loop, show what came out."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import configure_log
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from rich.console import Console

from rnn_sweep import folders
from rnn_sweep.errors import UserError
from rnn_sweep.storage import STORAGE_VARIABLE, masked, quiet
from rnn_sweep.sweep import hooks, record, samplers
from rnn_sweep.sweep import study as studies
from rnn_sweep.sweep.compose import cached
from rnn_sweep.sweep.dry_run import show
from rnn_sweep.sweep.ending import WriteReport, conclude, make_report, summary
from rnn_sweep.sweep.loop import Loop, Reason
from rnn_sweep.sweep.plan import Plan, check_study, make_plan, make_sampler
from rnn_sweep.sweep.pool import check_launcher, open_pool
from rnn_sweep.sweep.presence import Presence
from rnn_sweep.sweep.progress import Progress
from rnn_sweep.sweep.results import Command, winners
from rnn_sweep.sweep.settings import Settings
from rnn_sweep.sweep.space import quoted
from rnn_sweep.sweep.stop import Stop
from rnn_sweep.sweep.verdict import Verdict

if TYPE_CHECKING:
    from optuna import Study

MakeLauncher = Callable[[DictConfig, HydraContext, TaskFunction], Launcher]


def main(
    config: DictConfig,
    context: HydraContext,
    task: TaskFunction,
    arguments: Sequence[str],
    make_launcher: MakeLauncher,
    write: WriteReport,
) -> None:
    """Run a sweep from Hydra's ``Sweeper.sweep``.

    Raises:
        SystemExit: 2 for a user's mistake, 1 when the sweep gave up or no trial has a value, 130 after
        Ctrl-C, 143 after SIGTERM.
    """
    console, stop = Console(), Stop()
    try:
        reason, has_result = sweep(config, context, task, arguments, make_launcher, write, console, stop)
    except (UserError, CompactHydraException) as error:  # the latter: what a launcher refuses
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    if reason is Reason.INTERRUPTED:
        raise SystemExit(stop.status)
    if reason is Reason.FAILURES or not has_result:
        raise SystemExit(1)


def sweep(
    config: DictConfig,
    context: HydraContext,
    task: TaskFunction,
    arguments: Sequence[str],
    make_launcher: MakeLauncher,
    write: WriteReport,
    console: Console,
    stop: Stop,
) -> tuple[Reason, bool]:
    """Run a sweep.

    Returns:
        Why it ended, and whether the study has a best trial.

    Raises:
        UserError: found before any trial was created.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    str(config.hydra.sweep.dir)  # resolved once: jobs take over what is in the cache, and "now" is not the same later
    context = HydraContext(config_loader=cached(context.config_loader), callbacks=context.callbacks)
    plan = make_plan(config, context, task, arguments)
    settings, folder = plan.settings, Path(config.hydra.runtime.cwd)
    check_study(settings, folder, plan.space)
    sampler = make_sampler(plan, 0)  # refuses what it must before there is a study
    samplers.check_pruner(settings.pruner)
    if settings.dry_run:
        show(plan.suggester, plan.points, sampler, settings.directions, console)
        return Reason.DONE, True
    launcher = make_launcher(config, context, task)  # may find that its cluster is not there
    check_launcher(launcher)
    folders.check("hydra.sweep.dir", str(config.hydra.sweep.dir))
    with stop:
        study, url = studies.create(settings.study_name, str(config.hydra.job.name), settings, folder)
        prepare(config, settings, url)
        typed = settings.storage or url
        command = Command([argument.replace(typed, masked(typed)) for argument in sys.argv[1:]])
        record.note(study, plan, task, command)
        with Presence(study) as presence:
            study.sampler = make_sampler(plan, presence.session) if presence.session else sampler
            parent = hooks.begin(task, plan.suggester.defaults, study, masked(url), record.space(plan))
            identity = "trial" in config
            reason, failure = _work(study, url, plan, launcher, task, presence, stop, parent, identity, console)
        hooks.settle(task, parent, study)
        asked = settings.report and reason is not Reason.INTERRUPTED  # who stops a sweep does not want to wait
        written = make_report(study, Path(config.hydra.sweep.dir), url, command, write) if asked else None
        hooks.end(task, parent, summary(study, reason, command, written))
        conclude(config, study, url, reason, failure, command, written, console)
    return reason, bool(winners(study))


def _work(
    study: Study,
    url: str,
    plan: Plan,
    launcher: Launcher,
    task: TaskFunction,
    presence: Presence,
    stop: Stop,
    parent: str | None,
    identity: bool,
    console: Console,
) -> tuple[Reason, Verdict | None]:
    """Run the loop over a pool of the launcher's; also returns the latest failure."""
    settings = plan.settings
    if samplers.is_grid(settings.sampler):
        settings = replace(settings, n_trials=min(settings.n_trials, samplers.grid_size(plan.space)))
    with studies.ask_lock(url), quiet():
        for point in plan.points:
            study.enqueue_trial(point, skip_if_exists=True)
    pool = open_pool(launcher, settings.n_jobs)
    slots = max(1, pool.slots // settings.replicates)
    with Progress(study, settings.n_trials, slots, console) as progress, _frozen_heap():
        progress.say(f"study {study.study_name} in {studies.shown(url)}")
        for remark in plan.remarks:
            progress.say(f"trial 0: {remark}")
        loop = Loop(
            study,
            url,
            settings,
            plan.suggester,
            plan.constraints,
            pool,
            presence,
            stop,
            progress,
            identity,
            parent,
            settle=partial(hooks.settle, task, parent, study),
            heeds=identity and hooks.heeds_stop(task),
            seeds=plan.seeds,
        )
        try:
            reason = loop.run()
        finally:
            pool.close(kill=bool(loop.running))
    return reason, loop.failure


@contextmanager
def _frozen_heap() -> Iterator[None]:
    """Spare the garbage collector what is there already: modules, which it would look through again and again.

    A job's configuration is a ring of references, made anew for each job, so that it runs often.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def prepare(config: DictConfig, settings: Settings, url: str) -> None:
    """Change the configuration that jobs get: no password in it, no ``trial`` in folder names."""
    lines: Any = OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False)
    extra = []
    secret = settings.storage is not None and masked(settings.storage) != settings.storage
    if secret:
        os.environ[STORAGE_VARIABLE] = url  # what jobs on this machine complete the masked URL from
        lines = [line for line in lines if not line.lstrip("+").startswith("hydra.sweeper.storage=")]
        extra.append(f"hydra.sweeper.storage={quoted(masked(url))}")
    keys = list(config.hydra.job.config.override_dirname.exclude_keys)
    if "trial" in config and "trial" not in keys:
        extra.append(f"hydra.job.config.override_dirname.exclude_keys=[{','.join([*keys, 'trial'])}]")
    with read_write(config.hydra), open_dict(config.hydra):
        if secret:
            config.hydra.sweeper.storage = masked(url)
        config.hydra.overrides.hydra = [*lines, *extra]
        if OmegaConf.select(config, "hydra.hydra_logging.root.level") == "INFO":
            config.hydra.hydra_logging.root.level = "WARNING"  # a launcher's lines about each job
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
