"""Whole sweeps in the test's own process.

:func:`sweep` plays one of a function: real settings, real studies in files, and no job but a call. What other processes
do to a sweep is played, too: a worker that dies is the exception that a launcher gives then, a sweeper that is killed
is :class:`Killed`, which nothing catches, and a second sweeper is a sweep within a job of the first.

:class:`InProcess` runs an application under Hydra itself, as its command line would.
"""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from unittest import mock

import hydra
import optuna
import pytest
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from optuna.trial import FrozenTrial

import hydra_plugins.rnn_sweep_optuna.sweeper  # noqa: F401 - registers the groups
from rnn_sweep.hydra_version import BASE, trusting
from rnn_sweep.storage import open_storage
from rnn_sweep.sweep import job_folders, sweeper
from rnn_sweep.sweep.config_cache import CachedLoader, quick_copy
from rnn_sweep.sweep.study import SURPLUS_ATTR

ConfigStore.instance().store(
    name="inprocess", node={"x": 0, "y": 0, "z": 0.5, "c": "a", "seed": 1, "epochs": 1, "trial": None}
)

QUIET = ["hydra/job_logging=disabled", "hydra/hydra_logging=disabled"]

Values = dict[str, Any]
Job = Callable[[Values, int], Any]
"""From a job's overrides and Hydra's number for it to what it returns; an exception is a failure, or a death."""


class Killed(BaseException):
    """What ends a sweeper without its doing anything more."""


class Died(BrokenExecutor):
    """What a launcher says of a worker that was killed."""


def by_x(values: Values, index: int) -> float:
    """A job that any sampler can learn from."""
    return float(values.get("x", 0)) + float(values.get("y", 0))


class Loader(ConfigLoaderImpl):
    """Composes jobs of an application without config groups by setting values in a copy."""

    def __init__(self, original: ConfigLoaderImpl) -> None:
        self.__dict__.update(original.__dict__)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        config = quick_copy(master_config, None, DictConfig)
        lines = [line for line in master_config.hydra.overrides.hydra if "/" not in line.partition("=")[0]]
        parsed = OverridesParser.create().parse_overrides([*lines, *sweep_overrides])
        self._apply_overrides_to_config(parsed, config)
        CachedLoader._describe(config, [o for o in parsed if not o.is_hydra_override()])
        return config


@dataclass
class Launcher:
    """Runs a job when it is submitted, in a folder of its own, which no job had before."""

    job: Job
    jobs: list[int]
    config: DictConfig
    loader: Loader
    slots: int = 1

    def open(self, n_jobs: int | None) -> None:
        self.slots = n_jobs or 1

    def submit(self, overrides: Sequence[str], index: int) -> Future[JobReturn]:
        future: Future[JobReturn] = Future()
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        self.jobs.append(index)
        self._folder(overrides, index).mkdir(parents=True)
        try:
            value = self.job({o.get_key_element().lstrip("+"): o.value() for o in parsed}, index)
            future.set_result(JobReturn(overrides=overrides, status=JobStatus.COMPLETED, _return_value=value))
        except Died as death:
            future.set_exception(death)
        except Exception as error:
            future.set_result(JobReturn(overrides=overrides, status=JobStatus.FAILED, _return_value=error))
        return future

    def _folder(self, overrides: Sequence[str], index: int) -> Path:
        own: str | None = str(index)
        if not job_folders.is_numbered(self.config):
            own = job_folders.subdir(self.loader.load_sweep_config(self.config, list(overrides)), index)
        return Path(str(self.config.hydra.sweep.dir)) / str(own)

    def close(self, kill: bool = False) -> None:
        pass


@dataclass
class Ended:
    """How a sweep ended."""

    status: int
    out: str
    err: str
    jobs: list[int] = field(default_factory=list)
    """Hydra's numbers of the jobs, in order."""


@functools.cache
def _composed(groups: tuple[str, ...]) -> tuple[Loader, DictConfig]:
    with hydra.initialize(config_path=None, **BASE):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("inprocess", list(groups), run_mode=RunMode.MULTIRUN)
        return Loader(cast(ConfigLoaderImpl, loader)), config


def configuration(overrides: Sequence[str]) -> tuple[Loader, DictConfig, list[str]]:
    """Hydra's configuration of a sweep, composed once for each choice of groups, and the task's overrides."""
    setup_globals()  # a test leaves none of Hydra's resolvers behind
    own = ["hydra/sweeper=optuna", "hydra/sweeper/pruner=none", *QUIET]
    chosen = [o for o in overrides if "/" in o.partition("=")[0]]
    loader, composed = _composed((*own, *chosen))
    config = quick_copy(composed, None, DictConfig)
    values = [o for o in OverridesParser.create().parse_overrides(list(overrides)) if o.input_line not in chosen]
    task = [str(o.input_line) for o in values if not o.is_hydra_override()]
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweeper.report = False
        config.hydra.runtime.cwd = str(Path.cwd())
        for override in values:
            if override.is_hydra_override():
                OmegaConf.update(config, override.get_key_element().lstrip("+"), override.value())
        config.hydra.overrides.task = task
    return loader, config, task


def sweep(*overrides: str, job: Job = by_x, task: Any = by_x) -> Ended:
    """A whole sweep in the working folder; 0 or the status that the program would exit with."""
    jobs: list[int] = []
    out, err, status, argv = io.StringIO(), io.StringIO(), 0, sys.argv
    try:
        sys.argv = ["app.py", "-m", *overrides]
        # What single_run finds out takes as long as all the rest, and the node is known.
        with redirect_stdout(out), redirect_stderr(err), mock.patch.object(sweeper, "single_run", return_value=[]):
            loader, config, line = configuration(overrides)
            context = HydraContext(config_loader=loader, callbacks=Callbacks())
            launcher: Any = Launcher(job, jobs, config, loader)
            sweeper.main(config, context, task, line, lambda *_: launcher, write)
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        sys.argv = argv
    return Ended(status, out.getvalue(), err.getvalue(), jobs)


def write(*args: Any) -> Any:
    raise AssertionError("no report is asked for")


def study(name: str, folder: Path | None = None) -> optuna.Study:
    """A study of ``folder``, by default the working folder, as it is stored now."""
    url = f"journal://{folder or Path.cwd()}/studies/{name}.journal"
    return optuna.load_study(study_name=name, storage=open_storage(url))


class Once:
    """A job that does something else the first time that it has a certain number."""

    def __init__(self, index: int, event: Callable[[], Any], job: Job = by_x) -> None:
        self.index, self.event, self.job, self.done = index, event, job, False

    def __call__(self, values: Values, index: int) -> Any:
        if index == self.index and not self.done:
            self.done = True
            self.event()
        return self.job(values, index)


def die() -> None:
    raise Died("SIGKILL(-9)")


def ran(found: optuna.Study) -> list[FrozenTrial]:
    """The trials that came to their end, or were given up for good."""
    again = {t.user_attrs["retry_of"] for t in found.trials if "retry_of" in t.user_attrs}
    return [t for t in found.trials if t.number not in again and SURPLUS_ATTR not in t.user_attrs]


@dataclass
class InProcess:
    """Applications that run in ``folder``."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    capfd: pytest.CaptureFixture[str]

    def run(self, task: Callable[..., Any], node: Mapping[str, Any] | type, *arguments: str) -> Ended:
        """As if ``task`` under ``@hydra.main`` had been started with the command line ``arguments``."""
        GlobalHydra.instance().clear()
        ConfigStore.instance().repo.pop("in_process.yaml", None)  # of the call before
        ConfigStore.instance().store(name="in_process", node=node)
        self.monkeypatch.chdir(self.folder)
        self.monkeypatch.setattr(sys, "argv", ["app.py", *arguments, *QUIET, "hydra.output_subdir=null"])
        self.monkeypatch.setenv("COLUMNS", "200")
        self.capfd.readouterr()
        try:
            hydra.main(config_path=None, config_name="in_process", **trusting("tests.*", "optuna.*"))(task)()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        out, err = self.capfd.readouterr()
        return Ended(status, out, err)

    def search(self, task: Callable[..., Any], node: Mapping[str, Any] | type, *arguments: str) -> Ended:
        """The same with ``hydra/sweeper=optuna``, one trial at a time, the study being called ``s``."""
        how = ["hydra/sweeper=optuna", "hydra.sweeper.report=false", "hydra.sweep.dir=out"]
        return self.run(task, node, "-m", *how, "hydra.sweeper.study_name=s", *arguments)

    def refused(self, task: Callable[..., Any], node: Mapping[str, Any] | type, *arguments: str) -> str:
        """The one message of a search that must end before it has made anything."""
        before = set(self.folder.rglob("*"))
        ended = self.search(task, node, *arguments)
        assert ended.status == 2, ended
        assert "Traceback" not in ended.out + ended.err
        assert set(self.folder.rglob("*")) == before
        lines = ended.err.strip().splitlines()
        assert len(lines) == 1, ended.err
        return lines[0]

    def study(self, name: str = "s") -> optuna.Study:
        """A study as it is stored now."""
        return study(name, self.folder)


@pytest.fixture
def in_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> InProcess:
    """Applications run in ``tmp_path``."""
    return InProcess(tmp_path, monkeypatch, capfd)
