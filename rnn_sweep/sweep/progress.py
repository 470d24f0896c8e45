"""Progress of a sweep: a line for each trial that ended, and in a terminal a live one below."""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from rnn_sweep import terminal
from rnn_sweep.sweep.bars import Bars
from rnn_sweep.sweep.counts import LiveCounts
from rnn_sweep.sweep.verdict import End, Verdict

if TYPE_CHECKING:
    from optuna import Study

_STYLES = {End.COMPLETE: "green", End.PRUNED: "yellow", End.FAIL: "red"}
_WORDS = {End.COMPLETE: "done", End.PRUNED: "pruned", End.FAIL: "failed"}


class Progress:
    """Counts, the best so far and the time left; use it as a context, and call :meth:`expect` first.

    Args:
        study: the study.
        points: how many trials its space has room for.
        console: where to show it.
    """

    def __init__(self, study: Study, points: float, console: Console) -> None:
        self._study, self._reader = study, LiveCounts(study)
        self._points = points
        self._n_trials, self._slots = 0, 1
        self._console = console
        self._seconds: list[float] = []
        self._bars = Bars(study)
        self._shown = ExitStack()
        self._best: tuple[int, float] | None = None
        self._counts: dict[str, int] = {}
        self._began = time.monotonic()

    def __enter__(self) -> Progress:
        self._recount()
        self._shown.enter_context(terminal.live(self, self._console))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shown.close()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self._bars.rows(options.max_width)
        # Lines that the console wraps would be counted as one where something above them is printed as it is.
        for text in terminal.lines(self.line().split(", "), options.max_width, between=", ", before=""):
            yield Text(text, style="bold", no_wrap=True, overflow="ellipsis")

    def expect(self, n_trials: int, slots: int) -> None:
        """Take the budget, and how many trials run at a time."""
        self._n_trials, self._slots = int(min(n_trials, self._points)), slots

    def started(self) -> None:
        """A trial was submitted."""
        self._bars.changed()
        self._counts["running"] = self._counts.get("running", 0) + 1

    def ended(self, number: int, verdict: Verdict, seconds: float, what: str = "") -> None:
        """A trial was told: print its line, with ``what`` it did if it was none of the search."""
        self._bars.changed()
        if verdict.end is not End.FAIL:
            self._seconds.append(seconds)
        self._recount()
        shown = ", ".join(f"{v:.6g}" for v in verdict.values)
        word = "interrupted" if verdict.kind == "interrupted" else _WORDS[verdict.end]
        remarks = "; ".join(part for part in (what, verdict.cause) if part)
        what = " ".join(part for part in (word, shown, f"({remarks})" if remarks else "") if part)
        self._console.print(
            Text.assemble(
                f"trial {number} ", (what, _STYLES[verdict.end]), f" in {terminal.duration(seconds)} | {self.line()}"
            ),
            soft_wrap=True,
        )

    def say(self, text: str) -> None:
        """A remark."""
        self._console.print(Text(text, style="cyan"), soft_wrap=True)

    def line(self) -> str:
        """``13/30 done, 2 running, 4 pruned, 0 failed, best 0.984 (trial 7), ETA 1:20``."""
        c = self._counts
        ended = c["complete"] + c["pruned"] + c["fail"]
        text = f"{ended}/{self._n_trials} ended, {c['running']} running, "
        text += f"{c['pruned']} pruned, {c['fail']} failed"
        if self._best is not None:
            text += f", best {self._best[1]:.6g} (trial {self._best[0]})"
        if self._seconds and ended < self._n_trials:
            left = (self._n_trials - ended) * statistics.fmean(self._seconds[-20:]) / self._slots
            text += f", ETA {terminal.clock(left)}"
        return text

    def _recount(self) -> None:
        self._counts = self._reader.states()
        if len(self._study.directions) == 1:
            self._best = self._reader.best()
