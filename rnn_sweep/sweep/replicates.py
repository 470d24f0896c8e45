"""A trial that is run several times, with seeds of its own each time, and scored by the mean."""

from __future__ import annotations

import math
import statistics
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn

from rnn_sweep.errors import UserError
from rnn_sweep.sweep.space.parameters import bare
from rnn_sweep.sweep.verdict import End, Verdict, judge

if TYPE_CHECKING:
    from rnn_sweep.sweep.space.suggest import Suggester

ATTR = "replicates"
"""Trial attribute: ``[{seed, values, run_id}, …]``."""

SEED = "seed"
"""Key of the application's configuration that differs between the replicates of a trial."""

CONFIDENCE = 0.95

Jobs = list[Future[JobReturn]]


def seeds(suggester: Suggester, count: int, prefix: str = "") -> list[int]:
    """The seeds of a trial's ``count`` replicates: the application's own and those after it; none for a single run.

    ``prefix`` stands before the key, as :func:`rnn_sweep.sweep.identity.prefix` says.

    Raises:
        UserError: the application has no integer ``seed``, or the sweep searches it.
    """
    if count == 1:
        return []
    first = first_seed(suggester, prefix, "hydra.sweeper.replicates", count)
    return [first + n for n in range(count)]


def first_seed(suggester: Suggester, prefix: str, setting: str, given: object) -> int:
    """The application's own seed, for a setting that trains with others after it.

    Raises:
        UserError: as above.
    """
    key = prefix + SEED
    if any(bare(param) == key for param in suggester.space.params):
        raise UserError(f"{setting} sets the seeds itself, got {given} with {key} in the space")
    first = suggester.default(key)
    if isinstance(first, bool) or not isinstance(first, int):
        raise UserError(f"{setting}={given} needs an integer {key} in the configuration, got {first!r}")
    return first


def margin(values: Sequence[float]) -> float | None:
    """Half of the confidence interval of the mean (Student's t); None for a single value."""
    if len(values) < 2:
        return None
    from scipy.stats import t  # type: ignore[import-untyped]

    quantile = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return quantile * statistics.stdev(values) / math.sqrt(len(values))


def together(jobs: Jobs) -> Future[Jobs | None]:
    """A future that is done when all ``jobs`` are, whatever became of them."""
    whole: Future[Jobs | None] = Future()
    left, lock = len(jobs), threading.Lock()

    def one_less(job: Future[JobReturn]) -> None:
        nonlocal left
        with lock:
            left -= 1
            last = left == 0
        if last:
            whole.set_result(jobs)

    for job in jobs:
        job.add_done_callback(one_less)
    return whole


def nothing(after: Future[Jobs | None] | None = None) -> Future[Jobs | None]:
    """A future without jobs, which is done at once, or when the other one is."""
    empty: Future[Jobs | None] = Future()
    if after is None:
        empty.set_result(None)
    else:
        after.add_done_callback(lambda _: empty.set_result(None))
    return empty


def judge_all(jobs: Jobs, objectives: int) -> list[Verdict]:
    """Read finished jobs."""
    return [judge(job, objectives) for job in jobs]


def merged(verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict on a trial: the first failure, else pruned if any replicate was, else the means."""
    for end in (End.FAIL, End.PRUNED):
        for verdict in verdicts:
            if verdict.end is end:
                return verdict
    values = tuple(statistics.fmean(each) for each in zip(*(v.values for v in verdicts), strict=True))
    known = set.intersection(*(set(v.metrics) for v in verdicts))
    metrics = {name: statistics.fmean(v.metrics[name] for v in verdicts) for name in sorted(known)}
    return replace(verdicts[0], values=values, metrics=metrics)


def notes(seeds: Sequence[int], verdicts: Sequence[Verdict]) -> Mapping[str, Any]:
    """What stays on a trial of several replicates: each seed's values and run, and mean and standard deviation.

    The deviation is that of the sample (n - 1), of the first objective.
    """
    if len(verdicts) < 2:
        return {}
    rows = [{SEED: s, "values": list(v.values), "run_id": v.run_id} for s, v in zip(seeds, verdicts, strict=True)]
    first = [v.values[0] for v in verdicts if v.values]
    if len(first) < 2:
        return {ATTR: rows}
    return {ATTR: rows, "mean": statistics.fmean(first), "sd": statistics.stdev(first)}
