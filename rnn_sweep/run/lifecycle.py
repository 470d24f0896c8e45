"""A run from its checked configuration to its outcome: ``rnn_sweep.start_run``, and what the decorator does with it."""

from __future__ import annotations

import datetime
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from rnn_sweep import files
from rnn_sweep.errors import UserError
from rnn_sweep.outcome import Outcome, State
from rnn_sweep.quoting import assigned
from rnn_sweep.random_state import fix_seeds
from rnn_sweep.run import record as records
from rnn_sweep.run import schedules, settings
from rnn_sweep.run.bridge import Run
from rnn_sweep.run.environment import mlflow_environment
from rnn_sweep.run.further import RESUME_KEY
from rnn_sweep.run.job import Application, Job, Place, earlier, prepared, segment_of, started
from rnn_sweep.run.recording import Recording
from rnn_sweep.run.seat import Seat
from rnn_sweep.run.segment import SegmentOver
from rnn_sweep.run.signals import Interrupt, interruptible, one_message, terminable
from rnn_sweep.run.summary import summary
from rnn_sweep.run.surroundings import Surroundings

if TYPE_CHECKING:
    from rnn_sweep.tracking import Run as Record
    from rnn_sweep.trial import Reporter

log = logging.getLogger(__name__)


@contextmanager
def start_run(cfg: DictConfig, folder: str | Path | None = None) -> Iterator[Run]:
    """A run around a block: recorded, saved each epoch, stopped in order, and part of its sweep.

    What :func:`rnn_sweep.main` does, for an application with a ``@hydra.main`` of its own, a notebook or a script. The
    keys ``seed``, ``objective``, ``trial`` and ``tracking`` are read where the configuration has them.

    ::

        with rnn_sweep.start_run(cfg) as run:
            ...
        return run.outcome

    Args:
        cfg: the run's configuration.
        folder: where it writes; Hydra's output folder, or one below ``outputs/``. One that holds a run which was cut
            off goes on with it.

    Raises:
        SystemExit: in a plain run of a Hydra application, for a user's mistake (2) and after a signal (128 + number).
        UserError: elsewhere, for a user's mistake.
    """
    application = Application(_block, None)
    with _guarded() as interrupt, opened(_job(application, cfg, folder), _seat(interrupt)) as run:
        yield run
        conclude(run, None)


def _block(cfg: Any, run: Run) -> None:
    """What the function of :func:`start_run` would be."""


def execute(application: Application, cfg: DictConfig, folder: Path | None = None) -> Outcome:
    """Run a training function; see :func:`start_run` for the arguments and what is raised."""
    with _guarded() as interrupt:
        return train(_job(application, cfg, folder), _seat(interrupt))
    raise AssertionError("a run that raised nothing has returned")


def train(job: Job, seat: Seat) -> Outcome:
    """Run a prepared job's function, and conclude its run.

    Raises:
        UserError: the tracking store cannot be used, or the function refuses its settings.
        Exception: whatever the function raised.
    """
    with opened(job, seat) as run:
        return carry_out(job, run)
    raise AssertionError("a run that raised nothing has returned")


def carry_out(job: Job, run: Run) -> Outcome:
    """Call a job's function, once for each segment of its schedule where it has one, and conclude its run.

    Raises:
        UserError: the function refuses its settings.
        Exception: whatever the function raised.
    """
    from rnn_sweep import checkpoint

    function, resume = job.application.function, run._around.resume
    for part in schedules.left(job.parts, len(run.history)):
        run._enter(part.segment, resume)
        try:
            returned = function(part.config, run)
        except SegmentOver:
            returned = None
        if not run._is_followed():
            return conclude(run, returned)
        run._epochs.release()
        resume = checkpoint.load(run.folder)
        if len(resume["history"]) != part.segment.until:
            raise UserError(f"the checkpoint of epoch {part.segment.until} could not be written into {run.folder}")
    return conclude(run, function(job.composed.config, run))


@contextmanager
def _guarded() -> Iterator[Interrupt]:
    """Handle signals within the context; in a plain run of a Hydra application end the program with one message."""
    if not HydraConfig.initialized():
        with interruptible() as interrupt:
            yield interrupt
        return
    if HydraConfig.get().mode is not RunMode.RUN:
        with terminable() as interrupt:
            yield interrupt
        return
    with one_message(), interruptible() as interrupt:
        yield interrupt
    if interrupt.signal is not None:
        sys.exit(128 + interrupt.signal)


def _seat(interrupt: Interrupt) -> Seat:
    return Seat(lambda: interrupt.signal is not None)


def _job(application: Application, cfg: DictConfig, folder: str | Path | None) -> Job:
    overrides: list[str] = []
    found = Path("outputs") / f"{datetime.datetime.now():%Y-%m-%d/%H-%M-%S-%f}"
    if HydraConfig.initialized():
        hydra = HydraConfig.get()
        found, overrides = Path(hydra.runtime.output_dir), typed(hydra.overrides.task)
    found = Path(folder) if folder is not None else found
    return prepared(application, cfg, Place(found.absolute(), overrides))


def typed(overrides: list[str]) -> list[str]:
    """The user's overrides, not the sweeper's, without the credentials that Hydra has resolved in them."""
    from rnn_sweep.redaction import mask

    mine = ("trial=", f"{settings.NODE}.trial=")
    return [mask(o) for o in overrides if not o.lstrip("+").startswith(mine)]


@contextmanager
def opened(job: Job, seat: Seat, reporter: Reporter | None = None) -> Iterator[Run]:
    """A run whose record, once it is open, is closed as failed or killed by what the block raises.

    Args:
        job: the run.
        seat: its place in the process.
        reporter: tells the study; that of the run's trial when None.

    Raises:
        UserError: the configuration, the tracking store or the folder's checkpoint does not fit.
    """
    around = _begin(job, seat, reporter)
    run = Run(around)
    try:
        if seat.alone:
            fix_seeds(around.settings.seed)  # of a run that goes on, too, for what is made before its loop
        with files.held(run.folder), mlflow_environment(around.settings) if seat.alone else nullcontext():
            yield run
    except Exception as error:
        if around.recording.begun or not isinstance(error, UserError):
            # A mistake may be that the study's storage is away: it is not asked once more.
            _fail(around, error, lost=around.reporter.lost if isinstance(error, UserError) else _is_lost(around))
        raise
    except BaseException:
        if around.recording.begun:
            record = around.recording.record
            record.leave() if around.reporter.lost else record.kill()
        raise
    finally:
        run._epochs.release()


def _fail(around: Surroundings, error: Exception, *, lost: bool) -> None:
    if lost:
        around.recording.record.leave()
    else:
        records.fail(around.recording.record, error)


def _is_lost(around: Surroundings) -> bool:
    """Whether the run's trial has ended without it: what is recorded of it is then another try's affair."""
    if not around.reporter.ask_whether_lost():
        return False
    number = (around.settings.trial or {}).get("number")
    log.warning("trial %s was given up by its sweep while this job ran, which ends and records no more", number)
    return True


def _begin(job: Job, seat: Seat, reporter: Reporter | None) -> Surroundings:
    from rnn_sweep import tracking
    from rnn_sweep.trial import Reporter

    found, place = job.composed, job.place
    trial = found.settings.trial or {}
    if trial.get("parent_run_id") is None:
        tracking.check(found.settings.tracking)
    reporter = reporter or Reporter(trial if "number" in trial else None)
    segment, resume = segment_of(job), job.resume or earlier(job, reporter.earlier())
    if segment is not None and resume is None:
        resume = started(job, segment, reporter.source())
    place.folder.mkdir(parents=True, exist_ok=True)
    told = reporter

    def record(tags: Mapping[str, str]) -> Record:
        return _record(job, resume, told, tags)

    notes = {"config": found.written, "overrides": list(place.overrides), RESUME_KEY: job.application.hooks.resume}
    return Surroundings(
        found.settings, place.folder, Recording(record), reporter, seat, notes, resume, _way_on(job), segment
    )


def _way_on(job: Job) -> Sequence[str]:
    """The command that goes on with the run; a sweep says itself how to go on with it."""
    from rnn_sweep.provenance import program

    place, hooks = job.place, job.application.hooks
    line = job.application.program or program()
    if hooks.resume is not None:
        return [*line, assigned(hooks.resume, str(place.folder))]
    if job.composed.settings.trial is not None or not HydraConfig.initialized():
        return []
    return [*line, *place.overrides, assigned("hydra.run.dir", str(place.folder))]


def _record(job: Job, resume: Mapping[str, Any] | None, reporter: Reporter, tags: Mapping[str, str]) -> Record:
    """Open the run's record, and bring it to where the run goes on."""
    from rnn_sweep import tracking
    from rnn_sweep.tracking import CONTINUES
    from rnn_sweep.trial import SEGMENT_ATTR

    found, place, script = job.composed.settings, job.place, job.application.script
    trial = found.trial or {}
    parent = trial.get("parent_run_id")
    all_tags = {**tags, **job.tags, **records.tags_of(trial), **(resume.get("tags", {}) if resume else {})}
    opening = tracking.Opening(
        params=job.composed.params,
        overrides=place.overrides,
        output_dir=place.folder,
        parent_run_id=parent or tracking.parent_of(found.tracking, all_tags.get(CONTINUES)),
        run_id=resume["run_id"] if resume else None,
        run_name=records.name_of(trial, place.overrides),
        tags=all_tags,
        script=script if script is not None and script.is_file() else None,
        patient=parent is not None,
    )
    record = tracking.start_run(found.tracking, opening)
    if record.run_id is not None:
        reporter.note("run_id", record.run_id)
    reporter.note("folder", str(place.folder.absolute()))
    history = resume["history"] if resume else []
    for epoch, row in enumerate(history, 1):  # what the killed process had not delivered; the store drops the others
        record.log_epoch(epoch, row)
    if found.objective:
        name = found.objective[0]
        own = {epoch: row[name] for epoch, row in enumerate(history, 1) if name in row}
        source = (trial.get(SEGMENT_ATTR) or {}).get("start", 0)
        reporter.repeat({epoch: value for epoch, value in own.items() if epoch > source})
    return record


def conclude(run: Run, returned: Any) -> Outcome:
    """Write the result of a function that has returned, close the record, and say where both are."""
    outcome = run._conclude(returned)
    around = run._around
    record = around.recording.record
    outcome = replace(outcome, run_id=record.run_id)
    if _is_lost(around):
        record.leave()
        run._outcome = outcome = replace(outcome, state=State.INTERRUPTED, values=())
        return outcome
    path = records.write_result(run.folder, outcome, around.notes["overrides"], around.recording.tags)
    around.reporter.note("state", outcome.state.value)
    record.finish(outcome.state, outcome.metrics, outcome.history, [path])
    log.info(summary(outcome, str(run.folder), record.ui_hint, around.way_on))
    if around.settings.trial is None:
        records.register(around.settings.tracking, outcome)
    run._outcome = outcome
    return outcome
