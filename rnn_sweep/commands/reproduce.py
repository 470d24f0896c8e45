"""Training a recorded run again from its configuration and seed, and comparing every figure."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from rnn_sweep.commands.runs import WEIGHTS_FILE, config_of
from rnn_sweep.errors import UserError, near
from rnn_sweep.outcome import SCORES, State
from rnn_sweep.sweep.results import winners

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
    run_id = _trial(study, trial).user_attrs.get("run_id")
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
        UserError: it is a sweep's run or still runs, has no epoch to compare, or its configuration does not fit
            this version or machine.
    """
    from rnn_sweep.tracking.reading import history

    config = config_of(store, run)
    threads = run.tags.get("threads", "")
    if threads.isdecimal():  # sums of other parts differ in their last bits
        config = replace(config, trainer=replace(config.trainer, threads=int(threads)))
    recorded = history(store, run)
    if run.status == "RUNNING":
        raise UserError(f"run {run.run_id[:8]} ({run.name}) has not ended yet")
    if not recorded:
        raise UserError(f"run {run.run_id[:8]} ({run.name}, {run.state}) has no epoch to compare with")
    with tempfile.TemporaryDirectory() as folder:
        outcome = _train(config, Path(folder), None if run.state == State.COMPLETE.value else len(recorded))
        same = _same_weights(store, run, Path(folder))
    final = {key: run.metrics[key] for key in FINAL if key in run.metrics}
    again = {key: outcome.metrics.get(key, math.nan) for key in final}
    differences, compared = compare(recorded, outcome.history, final, again)
    return Comparison(len(recorded), compared, differences, same, _environment(run, config))


def report(run: Recorded, comparison: Comparison, tolerance: float, console: Console) -> None:
    """Print what came out."""
    from rich.table import Table

    c = comparison
    head = f"run {run.run_id[:8]} ({run.name}, {run.state}): {c.compared} figures of {c.epochs} epochs"
    if c.identical:
        weights = "" if c.same_weights is None else ", and the weights,"
        console.print(f"{head}{weights} are bit-identical")
        return
    if not c.differences:
        console.print(f"{head} are bit-identical, the weights differ")
    else:
        verdict = "match" if c.matches(tolerance) else "DO NOT match"
        console.print(f"{head} {verdict}: the largest difference is {c.largest:.3g}, the tolerance {tolerance:g}")
        table = Table("metric", "epoch", "recorded", "again", "difference")
        for d in c.differences:
            epoch = "" if d.epoch is None else str(d.epoch)
            table.add_row(d.metric, epoch, f"{d.recorded:.9g}", f"{d.again:.9g}", f"{d.size:.3g}")
        console.print(table)
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
        for key in recorded[0]:
            see(key, before.get(key, math.nan), after.get(key, math.nan), epoch)
    for key, value in final.items():
        see(key, value, final_again[key], None)
    return sorted(found.values(), key=lambda d: -d.size), compared


def _train(config: Config, folder: Path, limit: int | None) -> Outcome:
    """Train; ``limit`` is the number of epochs after which a run that was cut short ends."""
    from rnn_sweep import data
    from rnn_sweep.display import Progress
    from rnn_sweep.training import Observer, check, train

    check(config)
    dataset = data.load(config.data)
    steps = -(-len(dataset.x_train) // config.data.batch_size)
    with Progress(limit or config.trainer.epochs, 0, steps) as progress:

        class Watcher(Observer):
            def step(self) -> None:
                progress.step()

            def epoch(self, epoch: int, metrics: dict[str, float]) -> bool:
                progress.epoch(epoch, metrics)
                return limit is None or epoch < limit

        return train(config, dataset, folder, Watcher())


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


def _environment(run: Recorded, config: Config) -> dict[str, tuple[str, str]]:
    from rnn_sweep import data
    from rnn_sweep.provenance import source_tags, version_tags

    now = {**version_tags(), **source_tags(None), DATA: data.sha256(config.data) or "none"}
    keys = [key for key in run.tags if key.startswith("version.") or key in ("mlflow.source.git.commit", DATA)]
    pairs = {key: (run.tags[key], now.get(key, "unknown")) for key in keys}
    return {
        key.removeprefix("version.").removeprefix("mlflow.source.git."): pair
        for key, pair in pairs.items()
        if pair[0] != pair[1]
    }
