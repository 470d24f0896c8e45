"""``rnn_sweep.main``: a training function as a Hydra application that can be swept."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from rnn_sweep import provenance
from rnn_sweep.errors import UserError
from rnn_sweep.garbage import uncollected
from rnn_sweep.hydra_version import trusting
from rnn_sweep.outcome import Outcome
from rnn_sweep.run import deciding, lifecycle, parent, schedules, search_path, settings
from rnn_sweep.run.hints import near_names
from rnn_sweep.run.hooks import Hooks
from rnn_sweep.run.job import Application, Function, Job, Place, named, prepared
from rnn_sweep.run.precheck import started
from rnn_sweep.run.signals import one_message

Program = Callable[..., Any]

NONE = Hooks()


def main(
    config_path: str | None = None,
    config_name: str | None = None,
    *,
    nested: bool = False,
    deterministic: bool | deciding.More = False,
    hooks: Hooks = NONE,
) -> Callable[[Function], Program]:
    """Decorate a training function ``(cfg, run)``: a command line, a run recorded and saved each epoch, and sweeps.

    ::

        @rnn_sweep.main(config_path="conf", config_name="config")
        def train(cfg, run):
            net = run.keep(Net(**cfg.model))
            for epoch in run.epochs(cfg.epochs):
                run.log({"val/accuracy": fit(net)})

        if __name__ == "__main__":
            train()

    The application gets the settings ``seed``, ``objective``, ``trial`` and ``tracking``, which its own configuration
    may set. The function returns a number, several, a mapping of metrics, an :class:`~rnn_sweep.outcome.Outcome`, or
    nothing: then the objective is the last value that was logged. ``random``, numpy and torch are seeded with ``seed``.

    Args:
        config_path: folder of the configuration, relative to the function's file, as of ``hydra.main``.
        config_name: the configuration, without ``.yaml``.
        nested: put these settings below a node ``rnn_sweep``, for an application with others by their names.
        deterministic: whether the configuration decides what the function brings: a sweep then runs none twice
            (``hydra.sweeper.reuse``). Where more decides, such as the content of a file, a function ``(cfg)`` that
            returns it as JSON could hold it, a digest for one, or None where chance has a part.
        hooks: functions that check the configuration, and more that an application may tell.

    Returns:
        The program. Called without arguments it reads the command line; called with a configuration it runs once and
        returns the outcome.
    """

    def decorate(function: Function) -> Program:
        application = Application(function, _script(function), hooks)
        task = as_task(application)
        if deterministic is not False:
            task.rnn_sweep_deterministic = functools.partial(deciding.decides, deterministic)  # type: ignore[attr-defined]
        trusted = trusting("rnn_sweep.*", "optuna.*")  # what our own settings name
        program = hydra.main(config_path=config_path, config_name=config_name, **trusted)(task)

        @functools.wraps(function)
        def entry(cfg: DictConfig | None = None) -> Any:
            if cfg is not None:
                check_signature(function)
                return task(cfg)
            with one_message():
                check_signature(function)
                deciding.check(deterministic)
            application.program = provenance.program()
            with uncollected(), _settings(application, nested), _hints(application, config_path, config_name):
                return program()

        entry.application = application  # type: ignore[attr-defined]
        return entry

    return decorate


def as_task(application: Application) -> Callable[[DictConfig], Outcome]:
    """The task function that Hydra calls, with the hooks of :mod:`rnn_sweep.sweep.hooks`."""
    hooks = application.hooks

    @functools.wraps(application.function)
    def task(cfg: DictConfig) -> Outcome:
        return lifecycle.execute(application, cfg)

    task.rnn_sweep_validate = functools.partial(validate, hooks)  # type: ignore[attr-defined]
    if hooks.metrics is not None:
        task.rnn_sweep_metrics = functools.partial(_metrics, hooks)  # type: ignore[attr-defined]
    if hooks.decides is not None:
        task.rnn_sweep_deterministic = functools.partial(_decides, hooks)  # type: ignore[attr-defined]
    task.rnn_sweep_segments = {  # type: ignore[attr-defined]
        "mutable": list(hooks.mutable),
        "epochs": next(iter(hooks.further), None),
        "schedule": hooks.schedule,
    }
    if hooks.alone is not None:
        task.rnn_sweep_thread = functools.partial(thread, application)  # type: ignore[attr-defined]
    parent.attach(task, functools.partial(_read, hooks))
    return task


def validate(hooks: Hooks, cfg: DictConfig) -> None:
    """Check the configuration of a sweep's job as far as that can be done before it. Raises :class:`UserError`."""
    if hooks.parse is None and hooks.check is None:
        settings.read(cfg)
        return
    config = schedules.filled_in(settings.composed(cfg, hooks), hooks, ()).config
    folder = named(hooks, config)
    if folder is not None:
        raise UserError(f"{hooks.resume} goes on with one run, not in a sweep; got {folder!r}")
    if hooks.check is not None:
        hooks.check(config, None)
    if hooks.notice is not None:
        hooks.notice(config)


def thread(application: Application, cfg: DictConfig, folder: Path, overrides: Sequence[str]) -> Job | str:
    """Prepare a job to be trained by one of many threads, or say in a few words why it must run alone.

    Raises:
        UserError: as :func:`rnn_sweep.run.job.prepared`.
    """
    job = prepared(application, cfg, Place(folder, lifecycle.typed(list(overrides))))
    alone = application.hooks.alone
    why = alone(job.composed.config) if alone is not None else "its function has not said that threads may run it"
    if why:
        return why
    goes_on = named(application.hooks, settings.composed(cfg, application.hooks).config) is not None
    return f"{application.hooks.resume} goes on with one run" if goes_on else job


def _metrics(hooks: Hooks, cfg: DictConfig) -> Sequence[str]:
    return [] if hooks.metrics is None else hooks.metrics(settings.composed(cfg, hooks).config)


def _decides(hooks: Hooks, cfg: DictConfig) -> object:
    return None if hooks.decides is None else hooks.decides(settings.composed(cfg, hooks).config)


def _read(hooks: Hooks, cfg: DictConfig) -> settings.Settings:
    return settings.read(cfg) if hooks.parse is None else settings.composed(cfg, hooks).settings


def check_signature(function: Any) -> None:
    """Check that a training function takes ``(cfg, run)``. Raises :class:`UserError`."""
    name = getattr(function, "__name__", repr(function))
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        rule = "the function under rnn_sweep.main must take the configuration and the run, as in"
        raise UserError(f"{rule} def {name}(cfg, run), got {name}{inspect.signature(function)}") from None


def _script(function: Any) -> Path | None:
    """The user's program; found out here, for a worker process gets the function without its file."""
    try:
        return Path(inspect.getfile(function)).absolute()
    except TypeError:
        return None


@contextmanager
def _settings(application: Application, nested: bool) -> Iterator[None]:
    """Let Hydra find the application's settings and check it, and take credentials from what Hydra writes down."""
    if any("tracking.uri=" in argument for argument in sys.argv):
        from rnn_sweep.redaction import withheld

        sys.argv[1:] = map(withheld, sys.argv[1:])
    with started(application):
        if application.hooks.own_keys:
            yield
            return
        with search_path.declared(nested):
            yield


@contextmanager
def _hints(application: Application, config_path: str | None, config_name: str | None) -> Iterator[None]:
    """Say which names were meant, where the configuration is a folder."""
    script = application.script
    if config_path is None or config_name is None or script is None:
        yield
        return
    folder = (script.parent / config_path).resolve()
    if not folder.is_dir():
        yield
        return
    with near_names(folder, config_name):
        yield
