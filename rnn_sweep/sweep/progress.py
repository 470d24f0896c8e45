"""What a sweep shows while it runs: a line for each trial that ended, and in a terminal a live one below."""

from __future__ import annotations

import statistics
import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from rnn_sweep.sweep.census import Census
from rnn_sweep.sweep.verdict import End, Verdict

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

_STYLES = {End.COMPLETE: "green", End.PRUNED: "yellow", End.FAIL: "red"}
_WORDS = {End.COMPLETE: "done", End.PRUNED: "pruned", End.FAIL: "failed"}


class Progress:
    """Counts, the best so far and the time left; use it as a context."""

    def __init__(self, study: Study, n_trials: int, slots: int, console: Console) -> None:
        self._study, self._census = study, Census(study)
        self._n_trials = n_trials
        self._slots = slots
        self._console = console
        self._seconds: list[float] = []
        self._live = Live(self, console=console, refresh_per_second=2, transient=True) if console.is_terminal else None
        self._best: tuple[int, float] | None = None
        self._counts: dict[str, int] = {}
        self._began = time.monotonic()

    def __enter__(self) -> Progress:
        self._recount()
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __rich__(self) -> Text:
        return Text(self.line(), style="bold")

    def started(self, trial: Trial, overrides: list[str]) -> None:
        """A trial was submitted."""
        self._counts["running"] = self._counts.get("running", 0) + 1

    def ended(self, number: int, verdict: Verdict, seconds: float) -> None:
        """A trial was told: print its line."""
        if verdict.end is not End.FAIL:
            self._seconds.append(seconds)
        self._recount()
        shown = ", ".join(f"{v:.6g}" for v in verdict.values)
        what = " ".join(
            part for part in (_WORDS[verdict.end], shown, f"({verdict.cause})" if verdict.cause else "") if part
        )
        self._console.print(
            Text.assemble(f"trial {number} ", (what, _STYLES[verdict.end]), f" in {_clock(seconds)} | {self.line()}"),
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
            text += f", ETA {_clock(left)}"
        return text

    def _recount(self) -> None:
        self._counts = self._census.states()
        if len(self._study.directions) == 1:
            self._best = self._census.best()


def best_trial(study: Study) -> FrozenTrial | None:
    """The best complete trial that meets all constraints, the first of equals; for one objective."""
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    feasible = [t for t in complete if all(v <= 0 for v in t.constraints.values())]
    sign = -1.0 if study.directions[0] is StudyDirection.MAXIMIZE else 1.0
    return min(feasible, key=lambda t: (sign * float(t.values[0]), t.number), default=None)


def _clock(seconds: float) -> str:
    """1:05:09, 1:20 or 0.4 s."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
