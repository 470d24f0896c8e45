"""From a trial to its jobs: their overrides and Hydra's numbers for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnn_sweep.quoting import quoted
from rnn_sweep.redaction import masked
from rnn_sweep.sweep.identity import KEY
from rnn_sweep.sweep.plan import Plan
from rnn_sweep.sweep.replicates import SEED
from rnn_sweep.trial import CONFIRM_ATTR, RETRY_ATTR, SEGMENT_ATTR

if TYPE_CHECKING:
    from optuna import Trial


@dataclass(frozen=True)
class Jobs:
    """Makes the jobs of a study's trials."""

    url: str
    """Of the study's storage."""
    parent_run_id: str | None
    plan: Plan

    @property
    def each(self) -> int:
        """Jobs for each trial."""
        return max(1, len(self.plan.seeds))

    def first(self, trial: Trial) -> int:
        """Number of the first job of ``trial``."""
        return trial.number * self.each

    def of(self, trial: Trial, overrides: Sequence[str]) -> list[tuple[list[str], int]]:
        """Overrides and number of each job of ``trial``, which has ``overrides``; no two trials share a number."""
        jobs, confirms = [], trial.user_attrs.get(CONFIRM_ATTR)
        seeds = self.plan.seeds if confirms is None else []  # what confirms another trial has its seed already
        for replicate in range(max(1, len(seeds))):
            seed = [f"{self.plan.prefix}{SEED}={seeds[replicate]}"] if seeds else []
            more = f",replicate:{replicate},replicates:{self.each}" if seeds else ""
            more += "" if confirms is None else f",{CONFIRM_ATTR}:{confirms['trial']}"
            line = [*overrides, *seed, *(self._identity(trial, more) if self.plan.identity else [])]
            index = self.first(trial) + replicate
            jobs.append(([*line, *self.plan.place(line, index)], index))
        return jobs

    def _identity(self, trial: Trial, more: str) -> list[str]:
        parent = "null" if self.parent_run_id is None else quoted(self.parent_run_id)
        name, storage = quoted(trial.study.study_name), quoted(masked(self.url))
        again = trial.user_attrs.get(RETRY_ATTR)
        retry = "" if again is None else f",retry_of:{again}"
        segment = trial.user_attrs.get(SEGMENT_ATTR)
        more += "" if segment is None else f",{SEGMENT_ATTR}:{_written(segment)}"
        known = f"study_name:{name},storage:{storage},number:{trial.number},parent_run_id:{parent}{retry}{more}"
        return [f"{self.plan.prefix}{KEY}={{{known}}}"]


def _written(segment: Mapping[str, Any]) -> str:
    """A segment in the override grammar."""
    numbers = {key: value for key, value in segment.items() if key != "keys"}
    parts = [f"{key}:{'null' if value is None else value}" for key, value in numbers.items()]
    return f"{{{','.join(parts)},keys:[{','.join(map(quoted, segment['keys']))}]}}"
