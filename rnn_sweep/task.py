"""The training task that Hydra runs: check everything, then train one configuration and record it."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from rnn_sweep import folders, parent
from rnn_sweep.config import parse
from rnn_sweep.errors import UserError
from rnn_sweep.execution import RESULT_FILE, Job

if TYPE_CHECKING:
    from rnn_sweep.outcome import Outcome

log = logging.getLogger(__name__)

Task = TypeVar("Task", bound=Callable[..., Any])


class Interrupt:
    """A wish to stop: the first SIGINT or SIGTERM lets the epoch end, the second stops at once."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        log.info("stopping after this epoch; once more stops at once")


class Precheck(Callback):
    """Refuses a plain run's mistakes before Hydra makes its output folder."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Prepare the run as :func:`run` will, and end the program with one message where that fails."""
        with one_message():
            prepare(config, Path(), config.hydra.overrides.task)
            folders.check("hydra.run.dir", config.hydra.run.dir)  # where Hydra would end with a traceback


def validate(cfg: DictConfig) -> None:
    """Check a composed configuration as far as that can be done without its data.

    Raises:
        UserError: something in it is wrong.
    """
    from rnn_sweep import data, training

    config = parent.parse_composed(cfg)
    data.check(config.data)
    training.check(config)


def sweepable(task: Task) -> Task:
    """Hang the hooks of :mod:`rnn_sweep.sweep.hooks` on a task function, so that sweeps check, record and fuse it.

    ``rnn_sweep_fuse`` is :func:`fuse`; ``hydra/launcher=fused`` runs a task function without it job by job.
    """
    task.rnn_sweep_validate = validate  # type: ignore[attr-defined]
    task.rnn_sweep_begin = parent.begin  # type: ignore[attr-defined]
    task.rnn_sweep_objectives = parent.objectives  # type: ignore[attr-defined]
    task.rnn_sweep_heeds_stop = True  # type: ignore[attr-defined]
    task.rnn_sweep_settle = parent.settle  # type: ignore[attr-defined]
    task.rnn_sweep_end = parent.end  # type: ignore[attr-defined]
    task.rnn_sweep_fuse = fuse  # type: ignore[attr-defined]
    return task


def run(cfg: DictConfig) -> Outcome:
    """Train what ``cfg`` describes; the function behind ``run.py``.

    Returns:
        The outcome, also when the run diverged, was pruned or interrupted.

    Raises:
        SystemExit: in a plain run, for a user's mistake (2) and after a signal (128 + its number).
        UserError: in a sweep's trial, for a user's mistake.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    if hydra.mode is not RunMode.RUN:
        job = replace(prepare(cfg, folder, hydra.overrides.task), script=script(hydra))
        with terminable() as interrupt:
            return execute(job, interrupt)
    with one_message(), interruptible() as interrupt:
        outcome = execute(prepare(cfg, folder, hydra.overrides.task), interrupt)
    if interrupt.signal is not None:
        sys.exit(128 + interrupt.signal)
    return outcome


def script(hydra: HydraConf) -> Path | None:
    """The user's program as a worker process can know it: beside the configuration folder, named as the job."""
    for source in hydra.runtime.config_sources:
        path = Path(source.path).parent / f"{hydra.job.name}.py"
        if source.provider == "main" and path.is_file():
            return path
    return None


def prepare(cfg: DictConfig, folder: Path, overrides: Sequence[str]) -> Job:
    """Check a configuration and, where it resumes a run, put that run's own in its place.

    Raises:
        UserError: something is wrong, or there is nothing to resume.
    """
    config = parent.parse_composed(cfg)
    others = [o for o in overrides if not o.lstrip("+").startswith("trainer.resume=")]
    if config.trainer.resume is not None and others:
        raise UserError(f"trainer.resume goes on with the recorded configuration; leave out {' '.join(others)}")

    if config.trainer.resume is None:
        from rnn_sweep import data

        data.check(config.data)

    # Importing torch takes a second: what can be refused without it has been refused by now.
    from rnn_sweep.tracking.masks import mask
    from rnn_sweep.training import check
    from rnn_sweep.training.checkpoint import load

    if config.trainer.resume is None:
        check(config)
        return Job(config, folder, [mask(override) for override in overrides])  # Hydra has resolved ${oc.env:…} in them
    folder = Path(config.trainer.resume)
    state = load(folder)
    result = folder / RESULT_FILE
    if result.is_file() and json.loads(result.read_text())["state"] != "interrupted":
        raise UserError(f"trainer.resume: the run in {str(folder)!r} has ended; its result is in {result}")
    recorded = parse(state["config"])
    check(recorded)
    return Job(recorded, folder, state["overrides"], state)


def fuse(cfg: DictConfig, folder: Path, overrides: Sequence[str]) -> Job | str:
    """Prepare a job to be trained as one lane of many in this process, or say in a few words why it must run alone.

    Raises:
        UserError: as :func:`prepare`.
    """
    job = prepare(cfg, folder, overrides)
    return "trainer.resume goes on with one run" if job.resume is not None else job


def execute(job: Job, interrupt: Interrupt) -> Outcome:
    """Train a prepared job and record it.

    Raises:
        UserError: the data or the tracking store is not as the configuration needs it; nothing was recorded.
    """
    from rnn_sweep.display import Progress
    from rnn_sweep.execution import begin
    from rnn_sweep.training import train

    work = begin(job)
    job = work.job
    history = job.resume["history"] if job.resume else []
    try:
        with Progress(job.config.trainer.epochs, len(history), work.steps_per_epoch) as progress:
            entry = work.entry(progress, stop=lambda: interrupt.signal is not None)
            outcome = train(
                job.config, work.dataset, job.folder, entry.observer, notes=entry.notes, resume=entry.resume
            )
        return work.finish(outcome)
    except KeyboardInterrupt:
        work.record.kill()
        raise
    except Exception as error:
        work.fail(error)
        if (readable := work.readable(error)) is not error:
            raise readable from error
        raise


@contextmanager
def one_message() -> Iterator[None]:
    """Turn a user's mistake into one line on stderr and exit status 2."""
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


@contextmanager
def terminable() -> Iterator[Interrupt]:
    """Let the epoch end, and the record be closed, when a launcher ends its worker processes with SIGTERM."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield interrupt  # the process is not a worker, and has somebody who handles signals
        return
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Let SIGINT and SIGTERM end the run in order, within the context; a second one raises KeyboardInterrupt."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt  # signals belong to whoever owns the main thread
        return
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    except KeyboardInterrupt:
        raise SystemExit(128 + (interrupt.signal or signal.SIGINT)) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
