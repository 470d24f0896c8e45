"""A run that has been checked and is ready: its configuration, where it writes, and what it goes on from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from rnn_sweep.errors import UserError
from rnn_sweep.files import CHECKPOINT_FILE, RESULT_FILE, has_ended
from rnn_sweep.run import further, schedules
from rnn_sweep.run.bridge import Run
from rnn_sweep.run.hooks import Hooks
from rnn_sweep.run.schedules import Part
from rnn_sweep.run.segment import Segment, logged
from rnn_sweep.run.settings import Composed, composed
from rnn_sweep.tracking import CONTINUES

log = logging.getLogger(__name__)

Function = Callable[[Any, Run], Any]
"""A training function: ``(cfg, run)``."""


@dataclass
class Application:
    """A training function with what its program told of it; travels to worker processes."""

    function: Function
    script: Path | None
    """The user's program."""
    hooks: Hooks = field(default_factory=Hooks)
    program: Sequence[str] = ()
    """How the program was started, up to its arguments; empty where the function was called."""


@dataclass(frozen=True)
class Place:
    """Where a run is, and what was typed for it."""

    folder: Path
    overrides: Sequence[str] = ()


@dataclass(frozen=True)
class Job:
    """One run, checked and ready."""

    application: Application
    composed: Composed
    place: Place
    resume: Mapping[str, Any] | None = None
    """The checkpoint to go on from."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Of the run's record."""
    parts: Sequence[Part] = ()
    """The segments of its schedule, where it replays one."""


def prepared(application: Application, cfg: DictConfig | Mapping[str, Any], place: Place) -> Job:
    """Check a configuration and, where it names a run to go on with, put that run's own in its place.

    Raises:
        UserError: something is wrong, or there is nothing to go on with.
    """
    hooks = application.hooks
    found = schedules.filled_in(composed(cfg, hooks), hooks, place.overrides)
    folder = named(hooks, found.config)
    if folder is None:
        if hooks.check is not None:
            hooks.check(found.config, None)
        resume = _cut_off(place.folder, found.written) if hooks.resume is None or _is_swept() else None
        return Job(application, found, place, resume, parts=schedules.parts(found, hooks))
    others = [o for o in place.overrides if not o.lstrip("+").startswith(f"{hooks.resume}=")]
    changes = [o for o in others if o.lstrip("+").partition("=")[0] in hooks.further]
    if left := [o for o in others if o not in changes]:
        may = f", but for {', '.join(hooks.further)}" if hooks.further else ""
        raise UserError(f"{hooks.resume} goes on with the recorded configuration{may}; leave out {' '.join(left)}")
    run = further.located(str(hooks.resume), folder, found.settings.tracking)
    if changes:
        return _further_job(application, run, found, Place(place.folder, changes))
    return _named_job(application, run)


def named(hooks: Hooks, config: Any) -> str | None:
    """The folder of the run that the configuration wants to go on with."""
    if hooks.resume is None:
        return None
    value = OmegaConf.select(OmegaConf.create(config), hooks.resume)
    return None if value is None else str(value)


def _named_job(application: Application, folder: Path) -> Job:
    from rnn_sweep import checkpoint

    key, hooks = str(application.hooks.resume), application.hooks
    state = checkpoint.load(folder, key)
    if has_ended(folder):
        where = folder / RESULT_FILE
        more = f"; with a larger {hooks.further[0]} it is trained further" if hooks.further else ""
        raise UserError(f"{key}: the run in {str(folder)!r} has ended; its result is in {where}{more}")
    recorded = composed({**state["config"], "trial": None}, hooks)
    if hooks.check is not None:
        hooks.check(recorded.config, state["kept"])
    return Job(application, recorded, Place(folder, state["overrides"]), state, parts=schedules.parts(recorded, hooks))


def _further_job(application: Application, folder: Path, given: Composed, place: Place) -> Job:
    """A new run in ``place``, with the changes typed there, that goes on from the checkpoint in ``folder``."""
    from rnn_sweep import checkpoint

    hooks = application.hooks
    state = checkpoint.load(folder, str(hooks.resume))
    found = composed({**further.changed(hooks, folder, state, given.config, place.overrides), "trial": None}, hooks)
    if hooks.check is not None:
        hooks.check(found.config, state["kept"])
    keys = {o.lstrip("+").partition("=")[0] for o in place.overrides}
    before = [o for o in state["overrides"] if o.lstrip("+").partition("=")[0] not in keys]
    resume = {**state, "config": found.written, "run_id": None}
    tags = {CONTINUES: str(state["run_id"])} if state["run_id"] else {}
    return Job(application, found, Place(place.folder, [*before, *place.overrides]), resume, tags)


def _is_swept() -> bool:
    """Whether Hydra runs the job as one of several: the folder of one that is there is that of a grid given again."""
    return HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN


def _cut_off(folder: Path, config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The checkpoint of a run that was killed or interrupted in this very folder.

    Raises:
        UserError: it cannot be read, or had another configuration.
    """
    from rnn_sweep import checkpoint

    if not (folder / CHECKPOINT_FILE).is_file() or has_ended(folder):
        return None
    key = "hydra.sweep.dir" if _is_swept() else "hydra.run.dir"
    state = checkpoint.load(folder, key)
    if state["config"] == config:
        return state
    was, now = _flat(state["config"]), _flat(config)
    keys = state.get(further.KEYS, ())  # of a run that is trained further, whose checkpoint was put here
    names = [name for name in sorted(was.keys() | now.keys()) if was.get(name) != now.get(name)]
    other = [f"{name}={was.get(name)}" for name in names if not any(f"{name}.".startswith(f"{key}.") for key in keys)]
    if not other:
        return {**state, "config": config}
    rule = f"{key} must be a new folder, or that of a run with the same settings: the run in {str(folder)!r} had"
    raise UserError(f"{rule} {', '.join(other[:5])}; {CHECKPOINT_FILE} is in the way")


def _flat(tree: Mapping[str, Any]) -> dict[str, str]:
    from rnn_sweep.tracking.params import flatten

    return flatten(tree)


def earlier(job: Job, tries: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The latest checkpoint of the tries of a trial before this one that can be gone on from."""
    from rnn_sweep import checkpoint

    check = job.application.hooks.check
    for notes in tries:
        if "folder" not in notes:  # it died before it began
            continue
        try:
            state = checkpoint.load(Path(notes["folder"]))
            if state["config"] != job.composed.written:
                continue
            if check is not None:
                check(job.composed.config, state["kept"])
        except UserError as error:  # it died before its first checkpoint, or on a machine with what this one lacks
            log.info("trying again without a checkpoint of an earlier try: %s", error)
            continue
        return state
    return None


def segment_of(job: Job) -> Segment | None:
    """The part of a run that a trial of a population is; None for any other job."""
    found = (job.composed.settings.trial or {}).get("segment")
    if found is None:
        return None
    return Segment(found["start"], found["until"], logged(job.composed.config, found["keys"]))


def started(job: Job, segment: Segment, source: tuple[int, Mapping[str, Any]] | None) -> Mapping[str, Any] | None:
    """The checkpoint that a trial of a population starts from, for a run of its own; None where it begins anew.

    Raises:
        UserError: it is not there, or is not the one that it should be.
    """
    from rnn_sweep import checkpoint

    if source is None:
        return None
    number, notes = source
    folder = Path(str(notes.get("folder")))
    state = checkpoint.load(folder, f"trial {number}'s checkpoint")
    if len(state["history"]) > segment.start:
        rule = f"must be that of epoch {segment.start}"
        raise UserError(f"trial {number}'s checkpoint in {str(folder)!r} {rule}, got epoch {len(state['history'])}")
    if job.application.hooks.check is not None:
        job.application.hooks.check(job.composed.config, state["kept"])
    tags = {CONTINUES: str(state["run_id"])} if state["run_id"] else {}
    changed = state["config"] != job.composed.written
    return {**state, "run_id": None, "changed": changed, "tags": tags}
