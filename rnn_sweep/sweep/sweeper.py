"""A whole sweep: check, make the study, run the loop, show what came out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.utils import configure_log
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from rich.console import Console

from rnn_sweep import garbage
from rnn_sweep.errors import UserError
from rnn_sweep.quoting import quoted
from rnn_sweep.redaction import STORAGE_VARIABLE, masked
from rnn_sweep.storage import quiet
from rnn_sweep.sweep import (
    auto,
    compatibility,
    confirm,
    job_folders,
    learning,
    lineage,
    population,
    samplers,
    steering,
    study_metadata,
)
from rnn_sweep.sweep import study as studies
from rnn_sweep.sweep.asking import Asker
from rnn_sweep.sweep.config_cache import cached
from rnn_sweep.sweep.dry_run import show
from rnn_sweep.sweep.finalize import Ended, WriteReport, conclude, make_report, show_ways_on, summary
from rnn_sweep.sweep.heartbeat import Heartbeat
from rnn_sweep.sweep.hooks import Hooks
from rnn_sweep.sweep.identity import KEY, declared, prefix
from rnn_sweep.sweep.jobs import Jobs
from rnn_sweep.sweep.loop import Loop
from rnn_sweep.sweep.node import typed_lines
from rnn_sweep.sweep.plan import Plan, check_study, make_plan, make_sampler
from rnn_sweep.sweep.pool import check_launcher, open_pool
from rnn_sweep.sweep.progress import Progress
from rnn_sweep.sweep.results import Command, winners
from rnn_sweep.sweep.settings import Settings, check_node
from rnn_sweep.sweep.signals import Stop
from rnn_sweep.sweep.space.validate import composer
from rnn_sweep.sweep.verdict import Reason, Verdict

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
    one = Sweep(config, context, task, make_launcher, write)
    try:
        with garbage.uncollected():
            reason, has_result = one.run(arguments)
    except (UserError, CompactHydraException) as error:  # the latter: what a launcher refuses
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    if reason is Reason.INTERRUPTED:
        raise SystemExit(one.stop.status)
    if reason in (Reason.FAILURES, Reason.MISTAKE) or not has_result:
        raise SystemExit(1)


@dataclass(frozen=True)
class Target:
    """What a sweep works on, once it was found to fit."""

    study: Study
    url: str
    """Of the study's storage."""
    plan: Plan
    command: Command
    """That goes on with it."""


@dataclass
class Sweep:
    """One sweep: what Hydra hands over, the terminal, and the signals that stop it."""

    config: DictConfig
    context: HydraContext
    task: TaskFunction
    make_launcher: MakeLauncher
    write: WriteReport
    console: Console = field(default_factory=Console)
    stop: Stop = field(default_factory=Stop)

    def __post_init__(self) -> None:
        self.hooks = Hooks.of(self.task)
        # The rest of the context, a whitelist too, is the jobs'.
        self.context = replace(self.context, config_loader=cached(self.context.config_loader))

    def run(self, arguments: Sequence[str]) -> tuple[Reason, bool]:
        """Check and run the sweep.

        Returns:
            Why it ended, and whether the study has a best trial.

        Raises:
            UserError: found before any trial was created.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        config = self.config
        str(config.hydra.sweep.dir)  # resolved once: jobs take it from the cache, and "now" is not the same later
        check_node("hydra.launcher", config.hydra.launcher)
        plan = make_plan(config, self.context, self.hooks, arguments)
        folder = Path(config.hydra.runtime.cwd)
        names = self.hooks.objective_names(plan.suggester.defaults)
        stored = check_study(plan, folder, names)
        plan = learning.taught(auto.settled(plan, stored), stored, folder, names)
        settings = plan.settings
        sampler = make_sampler(plan)  # refuses what it must before there is a study
        samplers.check_pruner(settings.pruner)
        if settings.dry_run:
            if plan.auto is not None:
                self.console.print(plan.auto.remark, soft_wrap=True, markup=False, highlight=False)
            first = plan.points if plan.evolution is None else population.beginnings(plan.evolution, plan.space)
            show(plan.suggester, first, sampler, settings.directions, self.console)
            return Reason.DONE, True
        launcher = self.make_launcher(config, self.context, self.task)  # may find that its cluster is not there
        check_launcher(launcher)
        generated = job_folders.is_generated(config)
        job_folders.choose(config, stored.user_attrs.get(studies.ID_ATTR) if stored is not None else None, generated)
        self.hooks.check_recordable(plan.suggester.defaults)
        single = single_run(config, self.context)
        with self.stop:
            study, url = studies.create(settings.study_name, str(config.hydra.job.name), settings, folder)
            with job_folders.held(config, study.user_attrs[studies.ID_ATTR], generated):
                prepare(config, settings, url)
                reason = self._run(_noted(Target(study, url, plan, _command(settings, url, single)), names), launcher)
        return reason, bool(winners(study))

    def _run(self, target: Target, launcher: Launcher) -> Reason:
        """Work on the study, and show what came out; returns why it ended."""
        study, url, plan = target.study, target.url, target.plan
        with Heartbeat(study) as heartbeat:
            study.sampler = make_sampler(plan, heartbeat.session, study.study_name)
            space = study_metadata.space(plan)
            parent = self.hooks.open_parent(plan.suggester.defaults, study, masked(url), space)
            with studies.ask_lock(url), quiet():
                for point in plan.points:
                    study.enqueue_trial(point, skip_if_exists=True)
            reason, failure = self._work(Asker(study, url, plan, heartbeat), launcher, parent)
        self.hooks.close_stale(parent, study)
        self._write_schedule(study, plan)
        ended = Ended(study, url, target.command, reason, failure)
        if plan.settings.report and reason is not Reason.INTERRUPTED:  # who stops a sweep does not want to wait
            folder = Path(self.config.hydra.sweep.dir)
            ended = replace(ended, report=make_report(study, folder, url, target.command, self.write))
        conclude(ended, self.config, self.console)
        page = self.hooks.close_parent(parent, summary(ended))
        if page is not None:
            self.console.print(page, soft_wrap=True, markup=False, highlight=False)
        show_ways_on(ended, Path(self.config.hydra.sweep.dir), self.console)
        return reason

    def _write_schedule(self, study: Study, plan: Plan) -> None:
        """Of a population: what its best member was trained with."""
        best = winners(study)
        if plan.evolution is None or not best:
            return
        config = composer(self.context.config_loader, self.config)(best[0].user_attrs["overrides"])
        folder = Path(self.config.hydra.sweep.dir)
        lineage.write(best[0], study.get_trials(deepcopy=False), config, folder, study.study_name)

    def _work(self, asker: Asker, launcher: Launcher, parent: str | None) -> tuple[Reason, Verdict | None]:
        """Run the loop over a pool of the launcher's; also returns the latest failure."""
        plan, study, url = asker.plan, asker.study, asker.url
        pool = open_pool(launcher, plan.settings.n_jobs)
        garbage.settle()
        with Progress(study, samplers.size(plan.settings.sampler, plan.suggester), self.console) as progress:
            for remark in (f"study {study.study_name} in {studies.shown(url)}", *plan.remarks):
                progress.say(remark)
            loop = Loop(asker, Jobs(url, parent, plan), pool, self.hooks, self.stop, progress)
            try:
                reason = loop.run()
            finally:
                pool.close(kill=bool(loop.running))
        return reason, loop.failure


def _noted(target: Target, names: Sequence[str] | None) -> Target:
    """Note the sweep on its study; returns the target with what is to be said about going on with it.

    Where there is nothing to run, the note of the sweep that ran stays.
    """
    study = target.study
    with studies.ask_lock(target.url):  # another sweeper may have begun the study since it was looked for
        plan = auto.settled(target.plan, study)
        compatibility.check(study, plan.settings, plan.space, names)
        compatibility.check_population(study, plan.evolution)
        auto.note(plan, study)
        learning.note(plan, study)
        nothing = compatibility.used_up(study, steering.budget(plan.settings.n_trials, steering.orders(study)))
        if plan.confirm is not None and confirm.is_due(study, plan.confirm):
            nothing = None
        remarks = [nothing] if nothing else compatibility.changes(study, plan.space)
        remarks += [] if nothing or plan.auto is None else [plan.auto.remark]
        if not nothing:
            study_metadata.note(study, plan, names, target.command)
    return replace(target, plan=replace(plan, remarks=[*plan.remarks, *remarks]))


def _command(settings: Settings, url: str, single: Sequence[str]) -> Command:
    typed = settings.storage or url
    return Command([argument.replace(typed, masked(typed)) for argument in sys.argv[1:]], single=single)


def single_run(config: DictConfig, context: HydraContext) -> list[str]:
    """The override that makes a single run of a configuration which sets ``hydra.mode`` to a sweep itself."""
    every = [*typed_lines(config, "hydra"), *typed_lines(config, "task")]
    lines = [line for line in every if line.lstrip("+").partition("=")[0] != "hydra.mode"]
    composed = context.config_loader.load_configuration(config.hydra.job.config_name, lines, RunMode.MULTIRUN)
    return ["hydra.mode=RUN"] if composed.hydra.mode is RunMode.MULTIRUN else []


def prepare(config: DictConfig, settings: Settings, url: str) -> None:
    """Change the configuration that jobs get: no password in it, no ``trial`` in folder names."""
    lines, extra = typed_lines(config, "hydra"), []
    secret = settings.storage is not None and masked(settings.storage) != settings.storage
    if secret:
        os.environ[STORAGE_VARIABLE] = url  # what jobs on this machine complete the masked URL from
        lines = [line for line in lines if not line.lstrip("+").startswith("hydra.sweeper.storage=")]
        extra.append(f"hydra.sweeper.storage={quoted(masked(url))}")
    keys = list(config.hydra.job.config.override_dirname.exclude_keys)
    key = prefix(config) + KEY
    if declared(config) and key not in keys:
        extra.append(f"hydra.job.config.override_dirname.exclude_keys=[{','.join([*keys, key])}]")
    with read_write(config.hydra), open_dict(config.hydra):
        if secret:
            config.hydra.sweeper.storage = masked(url)
        config.hydra.overrides.hydra = [*lines, *extra]
        if OmegaConf.select(config, "hydra.hydra_logging.root.level") == "INFO":
            config.hydra.hydra_logging.root.level = "WARNING"  # a launcher's lines about each job
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
