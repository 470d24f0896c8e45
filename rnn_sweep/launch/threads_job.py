"""One job of the launcher ``threads``: composed and given its folder as by Hydra's ``run_job``, without running it."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, run_job
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from rnn_sweep.current_config import as_current
from rnn_sweep.errors import UserError
from rnn_sweep.launch.job_logs import JobLog
from rnn_sweep.run.job import Job

log = logging.getLogger(__name__)

HOOK = "rnn_sweep_thread"
"""Attribute of a task function whose jobs threads can train: ``(cfg, folder, overrides) -> Job | reason why not``."""


@dataclass(frozen=True)
class App:
    """A Hydra application, as launchers get it."""

    context: HydraContext
    task: TaskFunction
    config: DictConfig


@dataclass(eq=False)
class Trial:
    """A job from its submission to its result."""

    app: App
    index: int
    config: DictConfig
    """Composed, with Hydra's node."""
    result: JobReturn
    log: JobLog
    job: Job | None = None
    """What is to be trained; None where it runs alone."""
    alone: str = ""
    """Why it runs alone."""
    future: Future[JobReturn] = field(default_factory=Future)

    def end(self, value: object) -> None:
        """Settle the job with its task's return value, or with the exception that the task raised."""
        failed = isinstance(value, BaseException)
        self.result.status = JobStatus.FAILED if failed else JobStatus.COMPLETED
        self.result.return_value = value
        with self.log.open():
            if isinstance(value, BaseException) and not isinstance(value, UserError):
                log.error("the job failed", exc_info=value)
            try:
                self.app.context.callbacks.on_job_end(config=self.config, job_return=self.result)
            except Exception:
                log.exception("hydra.callbacks: on_job_end failed")
        self.log.close()
        self.future.set_result(self.result)

    def run_alone(self) -> None:
        """Run the job as Hydra's own launcher does, logging excepted, and settle it."""
        log.info("#%d runs alone: %s", self.index, self.alone)
        try:
            with self.log.open():
                result = run_job(
                    hydra_context=self.app.context,
                    config=self.config,
                    task_function=self.app.task,
                    job_dir_key="hydra.sweep.dir",
                    job_subdir_key="hydra.sweep.subdir",
                    configure_logging=False,
                )
        except (Exception, SystemExit) as error:  # run_job lets SystemExit through, and one job must not end the sweep
            self.future.set_exception(error if isinstance(error, Exception) else RuntimeError(f"{error!r}"))
        else:
            self.future.set_result(result)
        finally:
            self.log.close()


def compose(app: App, overrides: Sequence[str], index: int) -> Trial:
    """Compose a job, make its folder with ``.hydra/`` in it, and prepare it as far as needs no data.

    A mistake of the user's in it settles the job at once, as failed.

    Raises:
        Exception: whatever keeps the configuration from being composed.
    """
    config = app.context.config_loader.load_sweep_config(app.config, list(overrides))
    with open_dict(config):
        config.hydra.job.id = f"{config.hydra.job.name}_{index}"
        config.hydra.job.num = index
    with as_current(config):
        folder = Path(str(config.hydra.sweep.dir), str(config.hydra.sweep.subdir)).absolute()
        with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
            config.hydra.runtime.output_dir = str(folder)
        HydraConfig.instance().set_config(config)
        folder.mkdir(parents=True, exist_ok=True)
        trial = Trial(app, index, config, _result(config), JobLog(config.hydra.job_logging))
        trial.alone = _why_alone(config)
        if not trial.alone:
            _save(trial, folder)
            app.context.callbacks.on_job_start(config=config, task_function=app.task)
            _prepare(trial, folder)
    return trial


def _result(config: DictConfig) -> JobReturn:
    """What ``run_job`` returns, but for the task's result."""
    task_config = copy.deepcopy(config)
    with read_write(task_config), open_dict(task_config):
        del task_config["hydra"]
    overrides = OmegaConf.to_container(config.hydra.overrides.task)
    assert isinstance(overrides, list)  # noqa: S101 - so Hydra's schema says
    return JobReturn(
        overrides=[str(override) for override in overrides],
        cfg=task_config,
        hydra_cfg=copy.deepcopy(HydraConfig.instance().cfg),  # type: ignore[arg-type]
        working_dir=os.getcwd(),
        task_name=JobRuntime.instance().get("name"),
    )


def _why_alone(config: DictConfig) -> str:
    """What Hydra does to the whole process for a job cannot be done for one of several."""
    if config.hydra.job.chdir:
        return "hydra.job.chdir gives it the process's working folder"
    if config.hydra.job.env_set:
        return "hydra.job.env_set gives it the process's environment"
    return ""


def _save(trial: Trial, folder: Path) -> None:
    if trial.config.hydra.output_subdir is None:
        return
    target = folder / str(trial.config.hydra.output_subdir)
    target.mkdir(exist_ok=True)
    files = {
        "config": trial.result.cfg,
        "hydra": trial.result.hydra_cfg,
        "overrides": trial.config.hydra.overrides.task,
    }
    for name, content in files.items():
        (target / f"{name}.yaml").write_text(OmegaConf.to_yaml(content), encoding="utf-8")


def _prepare(trial: Trial, folder: Path) -> None:
    prepare = getattr(trial.app.task, HOOK)
    try:
        found = prepare(trial.result.cfg, folder, trial.result.overrides)
        if isinstance(found, str):
            trial.alone = found
        else:
            trial.job = found
    except Exception as error:  # of this job alone
        trial.end(error)
