"""Training a recorded run again from its configuration and seed, and comparing every figure."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from rnn_sweep.commands.runs import config_of
from rnn_sweep.config import to_tree
from rnn_sweep.errors import UserError, near
from rnn_sweep.files import SCHEDULE_FILE, WEIGHTS_FILE
from rnn_sweep.outcome import SCORES, State
from rnn_sweep.run.seat import Seat
from rnn_sweep.sweep.results import winners
from rnn_sweep.terminal import print_table
from rnn_sweep.tracking import CONTINUES, NUMBER_TAG
from rnn_sweep.trial import SEGMENT_ATTR

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial
    from rich.console import Console

    from rnn_sweep.config import Config
    from rnn_sweep.outcome import Outcome
    from rnn_sweep.tracking.reading import Recorded
    from rnn_sweep.tracking.store import Store

DATA = "data.sha256"
"""Tag of a run whose data came from a file of the user's."""

ENGINE = "engine"
"""Tag with the identity of the engine that trained a run."""

FINAL = (
    "best_epoch",
    "test/loss",
    "parameters",
    *(key for score in SCORES for key in (f"val/{score}_best", f"test/{score}")),
)
"""What a finished run records beside its epochs, and depends on the configuration alone."""


@dataclass(frozen=True)
class Difference:
    """The largest difference of one metric."""

    metric: str
    recorded: float
    again: float
    epoch: int | None
    """Where the metric has one value an epoch."""

    @property
    def size(self) -> float:
        """Absolute difference; infinite where one of the two is missing or not a number."""
        return abs(self.recorded - self.again) if math.isfinite(self.recorded - self.again) else math.inf


@dataclass(frozen=True)
class Comparison:
    """A run beside its repetition."""

    epochs: int
    compared: int
    """Figures that were compared."""
    differences: Sequence[Difference]
    """One for each metric that differs at all, the largest first."""
    same_weights: bool | None
    """None where the run recorded no weights."""
    engine: str
    """Identity of the engine that trained it again: the one that trained it, where that was recorded."""
    environment: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """What is not as it was then: versions, commit, the user's file of data."""

    @property
    def identical(self) -> bool:
        """Every figure and every weight equal, bit for bit."""
        return not self.differences and self.same_weights is not False

    def matches(self, tolerance: float) -> bool:
        """Whether no metric differs by more than ``tolerance``."""
        return self.largest <= tolerance

    @property
    def largest(self) -> float:
        """The largest difference of any metric."""
        return max((d.size for d in self.differences), default=0.0)


def locate(name: str, storage: str | None, trial: int | None, uri: str) -> tuple[Store, Recorded]:
    """The recorded run that is meant by a run's id, or by a study's name: its best trial, or trial ``trial``.

    Raises:
        UserError: there is none.
    """
    from rnn_sweep.commands.studies import find, names
    from rnn_sweep.tracking.reading import find_run, open_existing

    if storage is None and trial is None and name not in names():
        store = open_existing(uri)
        try:
            return store, find_run(store, name)
        except UserError as error:
            raise UserError(f"{error}; and no study has that name ({near(name, names())})") from None
    study = find(name, storage)[0]
    found = _trial(study, trial)
    if SEGMENT_ATTR in found.user_attrs:
        rule = f"trial {found.number} of study {name!r} is a segment of a population, which began from a checkpoint"
        raise UserError(f"{rule}; its sweep's {SCHEDULE_FILE} replays the best member")
    run_id = found.user_attrs.get("run_id")
    if run_id is None:
        raise UserError(f"that trial of study {name!r} recorded no MLflow run")
    store = open_existing(uri)
    return store, find_run(store, str(run_id))


def _trial(study: Study, number: int | None) -> FrozenTrial:
    trials = study.get_trials(deepcopy=False)
    if number is not None:
        found = [t for t in trials if t.number == number]
        if not found:
            raise UserError(f"--trial: study {study.study_name!r} has trials 0 to {len(trials) - 1}, got {number}")
        return found[0]
    best = winners(study)
    if not best:
        raise UserError(f"study {study.study_name!r} has no complete trial yet; --trial names another one")
    return best[0]


def reproduce(store: Store, run: Recorded) -> Comparison:
    """Train the run again, in a temporary folder and without recording it, for as many epochs as it had.

    Raises:
        UserError: it is a sweep's run or still runs, has no epoch to compare, its configuration does not fit this
            version or machine, or the engine that trained it is not to be had.
    """
    from rnn_sweep import data
    from rnn_sweep.engines import choose, settle
    from rnn_sweep.tracking.reading import history

    config = config_of(store, run)
    recorded = history(store, run)
    if run.status == "RUNNING":
        raise UserError(f"run {run.run_id[:8]} ({run.name}) has not ended yet")
    if not recorded:
        raise UserError(f"run {run.run_id[:8]} ({run.name}, {run.state}) has no epoch to compare with")
    if ENGINE in run.tags:
        config = settle(config, run.tags[ENGINE])
    with tempfile.TemporaryDirectory() as folder:
        outcome = _train(config, Path(folder), None if run.state == State.COMPLETE.value else len(recorded))
        same = _same_weights(store, run, Path(folder))
    final = {key: run.metrics[key] for key in FINAL if key in run.metrics}
    again = {key: outcome.metrics.get(key, math.nan) for key in final}
    differences, compared = compare(recorded, outcome.history, final, again)
    engine = choose(config).identity
    now = environment(run, {DATA: data.sha256(config.data) or "none"})
    return Comparison(len(recorded), compared, differences, same, engine, now)


def check_whole(run: Recorded) -> None:
    """Check that a run was trained from its beginning to its end by itself.

    Raises:
        UserError: it goes on from another run's checkpoint, with other settings.
    """
    earlier = run.tags.get(CONTINUES)
    if earlier is not None and NUMBER_TAG not in run.tags:  # a trial of a population says its settings by epoch
        rule = "it has the epochs of another run with that run's settings, and cannot be made again by its own"
        raise UserError(
            f"run {run.run_id[:8]} ({run.name}) was trained further from run {earlier[:8]}: {rule}; "
            f"`rnn-sweep reproduce {earlier[:8]}` trains that one again"
        )


def report(run: Recorded, comparison: Comparison, tolerance: float, console: Console) -> None:
    """Print what came out."""
    from rich.table import Table

    c = comparison
    head = f"run {run.run_id[:8]} ({run.name}, {run.state}): {c.compared} figures of {c.epochs} epochs"
    if c.identical:
        weights = "" if c.same_weights is None else ", and the weights,"
        console.print(f"{head}{weights} are bit-identical on {c.engine}")
        return
    if not c.differences:
        console.print(f"{head} are bit-identical on {c.engine}, the weights differ")
    else:
        verdict = "match" if c.matches(tolerance) else "DO NOT match"
        largest = f"the largest difference is {c.largest:.3g}, the tolerance {tolerance:g}"
        console.print(f"{head} {verdict} on {c.engine}: {largest}")
        table = Table("metric", "epoch", "recorded", "again", "difference")
        for d in c.differences:
            epoch = "" if d.epoch is None else str(d.epoch)
            table.add_row(d.metric, epoch, f"{d.recorded:.9g}", f"{d.again:.9g}", f"{d.size:.3g}")
        print_table(table, console)
    for name, (then, now) in c.environment.items():
        console.print(f"{name} was {then}, is {now}")


def compare(
    recorded: Sequence[Mapping[str, float]],
    again: Sequence[Mapping[str, float]],
    final: Mapping[str, float],
    final_again: Mapping[str, float],
) -> tuple[list[Difference], int]:
    """The metrics that differ, each where it differs most, and how many figures were compared.

    An epoch that only one side has counts as a difference, with NaN for the other.
    """
    found: dict[str, Difference] = {}
    nothing: Mapping[str, float] = {}
    compared = 0

    def see(metric: str, before: float, after: float, epoch: int | None) -> None:
        nonlocal compared
        compared += 1
        difference = Difference(metric, before, after, epoch)
        same = before == after or (math.isnan(before) and math.isnan(after))
        if not same and (metric not in found or difference.size > found[metric].size):
            found[metric] = difference

    for epoch, (before, after) in enumerate(zip_longest(recorded, again, fillvalue=nothing), start=1):
        for key in before or recorded[0]:
            see(key, before.get(key, math.nan), after.get(key, math.nan), epoch)
    for key, value in final.items():
        see(key, value, final_again[key], None)
    return sorted(found.values(), key=lambda d: -d.size), compared


def _train(config: Config, folder: Path, limit: int | None) -> Outcome:
    """Train; ``limit`` is the number of epochs after which a run that was cut short ends."""
    from rnn_sweep.application import HOOKS, train
    from rnn_sweep.run import lifecycle
    from rnn_sweep.run.job import Application, Place, prepared

    alone = replace(config, tracking=replace(config.tracking, enabled=False), trial=None)
    job = prepared(Application(train, None, HOOKS), to_tree(alone), Place(folder))
    with lifecycle.opened(job, _Until(limit)) as run:
        return train(job.composed.config, run)
    raise AssertionError("a run that raised nothing has returned")


class _Until(Seat):
    """The place of a run that ends after some epochs."""

    def __init__(self, limit: int | None) -> None:
        super().__init__()
        self._left = math.inf if limit is None else limit

    def take(self) -> bool:
        """Count the epoch."""
        self._left -= 1
        return self._left >= 0


def _same_weights(store: Store, run: Recorded, folder: Path) -> bool | None:
    import torch

    from rnn_sweep.models import load_weights
    from rnn_sweep.tracking.reading import fetch

    recorded = folder / "recorded"
    recorded.mkdir()
    try:
        before = load_weights(fetch(store, run, WEIGHTS_FILE, recorded)).state_dict()
    except UserError:
        return None
    after = load_weights(folder / WEIGHTS_FILE).state_dict()
    return all(torch.equal(before[name], after[name]) for name in before)


def environment(run: Recorded, more: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """What is not as it was when the run was made; ``more`` are tags as they would be now."""
    from rnn_sweep.provenance import source_tags, version_tags

    now = {**version_tags(), **source_tags(None), **more}
    keys = [key for key in run.tags if key.startswith("version.") or key in ("mlflow.source.git.commit", DATA)]
    pairs = {key: (run.tags[key], now.get(key, "unknown")) for key in keys}
    return {
        key.removeprefix("version.").removeprefix("mlflow.source.git."): pair
        for key, pair in pairs.items()
        if pair[0] != pair[1]
    }
