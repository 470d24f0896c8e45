"""A launcher that leaves out the jobs of a grid that are done; the others keep their numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol, runtime_checkable

from hydra.core.utils import JobReturn


class Launcher(Protocol):
    """What a grid asks of a launcher."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run jobs, numbered from the one given."""


@runtime_checkable
class NumberingLauncher(Protocol):
    """A launcher that takes numbers with gaps."""

    def launch_numbered(self, job_overrides: Sequence[Sequence[str]], numbers: Sequence[int]) -> Sequence[JobReturn]:
        """Run jobs under these numbers."""


class LeftJobs:
    """Runs what is left of each batch.

    Where a launcher takes a first number alone, each row of jobs without a gap is a batch of its own.

    Args:
        launcher: of Hydra or elsewhere, set up.
        done: the numbers of the jobs that are done.
    """

    def __init__(self, launcher: Launcher, done: Collection[int]) -> None:
        self._launcher, self._done = launcher, done

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """See Hydra's launchers; the results of jobs that were done before are not among those returned."""
        left = [(n, job) for n, job in enumerate(job_overrides, initial_job_idx) if n not in self._done]
        if isinstance(self._launcher, NumberingLauncher):
            return self._launcher.launch_numbered([job for _, job in left], [n for n, _ in left]) if left else []
        return [ran for first, jobs in _rows(left) for ran in self._launcher.launch(jobs, first)]


def _rows(left: Sequence[tuple[int, Sequence[str]]]) -> Iterator[tuple[int, list[Sequence[str]]]]:
    """The jobs in rows whose numbers follow one another, with the first of them."""
    row: list[Sequence[str]] = []
    for place, (number, job) in enumerate(left):
        row.append(job)
        if place + 1 == len(left) or left[place + 1][0] != number + 1:
            yield number - len(row) + 1, row
            row = []
