"""What every test shares: the repository, and runs of ``run.py`` as a user types them."""

from __future__ import annotations

import copy
import gc
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from omegaconf.basecontainer import BaseContainer

from tests import warm

# A server of MLflow then is two processes; with its job queue it is ten, which take seconds of both cores to start.
os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background: what we start would ignore it, too
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent

STUDY, MODEL = "small", "smallest"
PRINTED = "printed.txt"
"""In the folder of :func:`swept`: what the sweep said."""
SMALL = ["experiment=smoke", "trainer.epochs=4", "model.hidden_dim=16", "hydra.sweeper.sampler.seed=1"]
SPACE = "hydra.sweeper.params={optimizer.lr:'tag(log,interval(1e-6,1e-1))',model.layers:'range(1,3)'}"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_collection_finish() -> None:
    """What has been imported by now stays: looking for garbage in it takes 0.2 s each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def forked_workers() -> None:
    """Workers that a test starts need not import everything again."""
    warm.fork_workers()


@pytest.fixture(scope="session", autouse=True)
def hydras_plugins() -> None:
    """What plugins store when they are imported, which Hydra does once from 1.4 on, stays there from test to test."""
    Plugins.instance()


@pytest.fixture(autouse=True)
def hydra_restore_singletons() -> Iterator[None]:
    """What a test composes in this process, such as Hydra's version base, is not the next one's.

    In place of Hydra's own fixture of that name, which takes 40 ms a test: it copies the whole store of configurations
    twice, and searches and executes all plugins again.
    """
    before = [(kind, each, _content(each)) for kind, each in Singleton._instances.items()]
    resolvers = dict(BaseContainer._resolvers)
    yield
    Singleton._instances.clear()
    for kind, each, content in before:
        Singleton._instances[kind] = each
        if content is not None:
            vars(each).clear()
            vars(each).update(content)
    BaseContainer._resolvers.clear()
    BaseContainer._resolvers.update(resolvers)


def _content(singleton: Any) -> dict[str, Any] | None:
    """What is put back into one of Hydra's singletons; nothing of those that only find code."""
    if isinstance(singleton, Plugins | SourcesRegistry):
        return None
    if isinstance(singleton, ConfigStore):
        return {"repo": _folders(singleton.repo)}
    return copy.deepcopy(vars(singleton))


def _folders(repo: dict[str, Any]) -> dict[str, Any]:
    return {name: _folders(each) if isinstance(each, dict) else each for name, each in repo.items()}


@pytest.fixture(autouse=True)
def environment_state() -> Iterator[None]:
    """Nor are environment variables, which the commands of the next tests would inherit; MLflow's store is one."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() | before.keys():
        if name not in before:
            del os.environ[name]
        elif os.environ.get(name) != before[name]:
            os.environ[name] = before[name]


@pytest.fixture(autouse=True)
def loggers_state() -> Iterator[None]:
    """What a test does to loggers is not the next one's: Hydra's ``disabled`` logging silences each logger there is."""
    before = _switches()
    yield
    for name, after in _switches().items():
        was = before.get(name, (False, True, logging.NOTSET))
        if after != was:
            logger = logging.getLogger(name)
            logger.disabled, logger.propagate = was[:2]
            logger.setLevel(was[2])


def _switches() -> dict[str, tuple[bool, bool, int]]:
    known = logging.getLogger().manager.loggerDict
    loggers = {name: logger for name, logger in known.items() if isinstance(logger, logging.Logger)}
    loggers[""] = logging.getLogger()
    return {name: (logger.disabled, logger.propagate, logger.level) for name, logger in loggers.items()}


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database without a run, which takes MLflow seconds to make."""
    from rnn_sweep.config import TrackingConfig
    from rnn_sweep.tracking import check

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    check(TrackingConfig(uri=f"sqlite:///{path}"))
    return path


@pytest.fixture
def run(tmp_path: Path, empty_store: Path) -> Run:
    """Run ``run.py`` beside MLflow's empty database; returns the finished process, output captured as text."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")

    def call(
        *arguments: str, timeout: float = 240, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return warm.run(
            command(*arguments),
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return call


def command(*arguments: str) -> Sequence[str]:
    """The command line of ``python run.py …``."""
    return [sys.executable, str(ROOT / "run.py"), *arguments]


class Leashed:
    """``run.py`` in a folder, which gets ahead of who reads its lines by 4 KiB, some 35 epochs, and then waits.

    So there is time to do something to it after a line, however fast it is and however slow the test.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.process = warm.Popen(command(*arguments), cwd=folder, bufsize=0, pipesize=4096, **streams)  # type: ignore[call-overload]

    def wait_for(self, pattern: str) -> None:
        """Read until a line begins with the pattern."""
        if not any(re.match(pattern, line) for line in self._lines()):
            raise AssertionError(f"the run ended before it said {pattern!r}")

    def _lines(self) -> Iterator[str]:
        while line := self.process.stdout.readline():
            yield line.decode()

    def rest(self, timeout: float = 120) -> str:
        """What it still says until its end."""
        return self.process.communicate(timeout=timeout)[0].decode()


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """The folder of a sweep with complete and pruned trials; to be read only."""
    folder = tmp_path_factory.mktemp("swept")
    shutil.copy(empty_store, folder / "mlflow.db")
    few = ["hydra.sweeper.n_jobs=1", "hydra/sweeper/pruner=median", "hydra.sweeper.pruner.n_startup_trials=2"]
    line = ["-m", "hydra/sweeper=optuna", *SMALL, SPACE, *few, "hydra.sweeper.n_trials=8"]
    names = [f"hydra.sweeper.study_name={STUDY}", f"tracking.register={MODEL}"]
    done = warm.run(command(*line, *names), cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (folder / PRINTED).write_text(done.stdout)
    return folder
