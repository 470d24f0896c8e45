"""The loop over a run's epochs: what happens between two of them, and how it ends."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rnn_sweep import garbage
from rnn_sweep.outcome import State
from rnn_sweep.random_state import random_states, restore_random
from rnn_sweep.run.kept import Kept
from rnn_sweep.run.segment import SegmentOver
from rnn_sweep.run.surroundings import Surroundings

if TYPE_CHECKING:
    from rnn_sweep.run.progress import Progress

log = logging.getLogger(__name__)

_ASK_SECONDS = 0.5
"""Between two questions to the study whether its sweep is being stopped."""


class Epochs(Iterator[int]):
    """The numbers of the epochs that are left; an iterator, for ``break`` and exceptions leave a generator open."""

    def __init__(self, around: Surroundings, kept: Kept) -> None:
        resume = around.resume
        self._around, self._kept = around, kept
        self.history: list[dict[str, float]] = [dict(row) for row in resume["history"]] if resume else []
        self.seconds: float = resume["seconds"] if resume else 0.0
        self.row: dict[str, float] | None = None
        """What the epoch under way has logged; None outside of epochs."""
        self.state: State | None = None
        """How the loop has ended, where not by its last epoch."""
        self.cause: str | None = None
        wish = resume["wish"] if resume else None
        self._wish: tuple[State, str | None] | None = None if wish is None else (State(wish), None)
        """How the function wants it to end after the epoch under way."""
        self._total: int | None = None
        self._told = False
        """Whether the function tells its steps."""
        self._since = 0.0
        self._progress: Progress | None = None
        self._asked, self._answer = -math.inf, False

    @property
    def begun(self) -> bool:
        """Whether there is a loop, or was one."""
        return self._total is not None

    @property
    def stopping(self) -> bool:
        """See :attr:`rnn_sweep.Run.stopping`."""
        if self._around.seat.stopping or self._around.reporter.told:
            return True
        if time.monotonic() - self._asked > _ASK_SECONDS:
            self._asked, self._answer = time.monotonic(), self._around.reporter.stopping
        return self._answer

    def begin(self, total: int, steps: int | None) -> None:
        """Begin the loop, or go on with it; ``steps`` is the number of those in an epoch, None where none are told."""
        from rnn_sweep.run.progress import Progress, bar_name

        segment = self._around.segment
        if segment is not None:
            segment.check(total)
            total = segment.until
        self._total, self._told = total, steps is not None
        _ = self._around.recording.record
        garbage.settle()
        resume, alone = self._around.resume, self._around.seat.alone
        if resume is not None:
            self._kept.restore()
            if alone and resume["random"] is not None:
                restore_random(resume["random"])
            log.info("going on after epoch %d", len(self.history))
        self._save()
        self._around.reporter.note("epochs", total)
        name = bar_name(self._around.settings.trial or {}, self._around.notes["overrides"])
        self._progress = Progress(total, len(self.history), steps or 1, bar=name)
        self._progress.__enter__()

    def steps(self, n: int) -> None:
        """``n`` optimiser steps more are done."""
        self._around.seat.tick(n)
        if self._progress is not None:
            self._progress.steps(n)

    def wish(self, state: State, cause: str | None) -> None:
        """Let the loop end with the epoch under way."""
        self._wish = (state, cause)

    def __next__(self) -> int:
        self.end_epoch()
        if self._wish is not None and self.state is None:
            self._end(*self._wish)
        if self.state is not None or len(self.history) >= (self._total or 0):
            self.release()
            if self.state is None and self._around.segment is not None and self._around.segment.followed:
                raise SegmentOver
            raise StopIteration
        if not self._around.seat.take():
            self._end(State.INTERRUPTED, f"interrupted after epoch {len(self.history)}")
            self.release()
            raise StopIteration
        self.row, self._since = {}, time.perf_counter()
        return len(self.history) + 1

    def end_epoch(self) -> None:
        """Record, show and report the epoch under way, save it, and see what follows from it."""
        if self.row is None:
            return
        self._around.seat.leave()
        self.seconds += time.perf_counter() - self._since
        row, self.row = self.row, None
        if not row and self._wish is not None and self._wish[0] is State.DIVERGED:
            self._end(*self._wish)
            return
        if self._around.segment is not None:
            row |= self._around.segment.metrics
        self.history.append(row)
        self._tell(len(self.history), row)

    def _tell(self, epoch: int, row: Mapping[str, float]) -> None:
        if self._progress is not None:
            if not self._told:
                self._progress.steps(1)
            self._progress.epoch(epoch, row)
        go_on = self._report(epoch, row)
        if self._around.reporter.lost:  # the record is that of another try, which has this epoch, too
            self._end(State.INTERRUPTED, "its sweep has given up the trial")
            return
        self._around.recording.record.log_epoch(epoch, row)
        try:
            self._save()
        except OSError as error:  # a disk that is full for a while costs checkpoints, and not the run
            log.warning("no checkpoint of epoch %d: %s", epoch, error)
        if self.state is None and not go_on:
            self._end(State.PRUNED, f"pruned after epoch {epoch}")
        if self.state is None and self._wish is not None:
            self._end(*self._wish)
        if self.state is None and epoch < (self._total or 0) and self.stopping:
            self._end(State.INTERRUPTED, f"interrupted after epoch {epoch}")

    def _report(self, epoch: int, row: Mapping[str, float]) -> bool:
        """Tell the study the objective, where the epoch has it; whether to go on."""
        name = next(iter(self._around.settings.objective), None)
        value = row.get(name) if name is not None else None
        if value is None:
            return True
        if not math.isfinite(value):
            self._end(State.DIVERGED, f"{name} became NaN or infinite in epoch {epoch}")
            return True
        return self._around.reporter.report(epoch, value)

    def _end(self, state: State, cause: str | None) -> None:
        self.state, self.cause = state, cause

    def _save(self) -> None:
        from rnn_sweep import checkpoint

        content: dict[str, Any] = {
            **self._around.notes,
            "run_id": self._around.recording.record.run_id,
            "kept": self._kept.states(),
            "random": random_states() if self._around.seat.alone else None,
            "history": self.history,
            "seconds": self.seconds,
            "wish": self._wish[0].value if self._wish is not None else None,
        }
        checkpoint.save(self._around.folder, content)

    def close(self) -> None:
        """End the epoch under way, and the loop: one that was left by ``break``, or that a trainer owns.

        An epoch of which nothing was logged is not counted.
        """
        if self.row is not None and not self.row and self._wish is None:
            self.row = None
        self.end_epoch()
        self.release()

    def release(self) -> None:
        """Give back what an epoch has: the core, the terminal."""
        self._around.seat.leave()
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
            self._progress = None
