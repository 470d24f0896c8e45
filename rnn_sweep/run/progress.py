"""What a run shows while it trains: a progress bar in a terminal, one plain line an epoch everywhere."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from rnn_sweep import terminal
from rnn_sweep.run.record import name_of
from rnn_sweep.run.summary import SHOWN
from rnn_sweep.terminal import clock

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

log = logging.getLogger(__name__)

_SECONDS = 0.1
"""Between two updates of a bar."""


class _Display:
    """The bars of the runs of this process that train now; they are there from the first run's beginning to its end."""

    def __init__(self) -> None:
        self._bars: Bars | None = None
        self._open, self._lock = ExitStack(), threading.Lock()

    def add(self, name: str, total: int, done: int) -> tuple[Bars, TaskID] | None:
        """A bar below the others; None where the terminal has none."""
        with self._lock:
            if self._bars is None:
                self._bars = self._start()
            bars = self._bars
            return None if bars is None else (bars, bars.add_task(name, total=total, completed=done, note=""))

    def remove(self, task: TaskID) -> None:
        """Take a bar away; with the last one goes the display."""
        with self._lock:
            assert self._bars is not None  # noqa: S101 - add has made it
            self._bars.remove_task(task)
            if not self._bars.tasks:
                self._open.close()
                self._bars = None

    def _start(self) -> Bars | None:
        if not sys.stderr.isatty():
            return None
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        console = Console(stderr=True)
        if not terminal.can_show(console):
            return None
        texts = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[note]}", markup=False)
        bars = Bars(texts[0], BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), texts[1], console=console)
        self._open.enter_context(terminal.live(bars, console))
        return bars


_display = _Display()


def bar_name(trial: Mapping[str, Any], overrides: Sequence[str]) -> str | None:
    """How a run is called among those whose bars are beside its own; None where it has no bar of its own.

    Bars of a study's trials are the sweep's, whatever processes they are in; those of a grid's are there where its jobs
    are in the sweep's own process, for several processes would write over one another's.
    """
    swept = HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN
    if "number" in trial or (swept and not terminal.shows_jobs()):
        return None
    return name_of(trial, overrides) or ""


class Progress:
    """Progress of one run over all its epochs; log lines appear above the bar. No bar where stderr is no terminal.

    Args:
        epochs: epochs of the whole run.
        done: epochs finished before, in a resumed run.
        steps_per_epoch: optimiser steps in an epoch.
        bar: the run's name before its bar, see :func:`bar_name`; None for no bar.
    """

    def __init__(self, epochs: int, done: int, steps_per_epoch: int, *, bar: str | None = "") -> None:
        self._epochs, self._done, self._per_epoch = epochs, done, steps_per_epoch
        self._start = self._shown = time.perf_counter()
        self._name, self._steps = bar, 0
        self._bar: tuple[Bars, TaskID] | None = None

    def __enter__(self) -> Progress:
        if self._name is not None:
            per_epoch, name = self._per_epoch, self._title(min(self._done + 1, self._epochs))
            self._bar = _display.add(name, self._epochs * per_epoch, self._done * per_epoch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            _display.remove(self._bar[1])
            self._bar = None

    def _title(self, epoch: int) -> str:
        return " ".join([*([self._name] if self._name else []), f"epoch {epoch}/{self._epochs}"])

    def steps(self, n: int) -> None:
        """``n`` optimiser steps are done."""
        if self._bar is None:
            return
        self._steps += n
        if time.perf_counter() - self._shown >= _SECONDS:
            self._show()

    def _show(self, **more: str) -> None:
        if self._bar is not None:
            bars, task = self._bar
            bars.update(task, advance=self._steps, **more)  # type: ignore[arg-type]
            self._steps, self._shown = 0, time.perf_counter()

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch is done."""
        left = (time.perf_counter() - self._start) / (epoch - self._done) * (self._epochs - epoch)
        width = len(str(self._epochs))
        log.info("epoch %*d/%d  %s  ETA %s", width, epoch, self._epochs, _row(metrics), clock(left))
        note = f"val {_score(metrics, 'val')}" if _is_ours(metrics) else ""
        self._show(description=self._title(min(epoch + 1, self._epochs)), note=note)


_OURS = frozenset({"train/loss", "val/loss", "lr", "images_per_second"})


def _is_ours(metrics: Mapping[str, float]) -> bool:
    """Whether these are the metrics of this package's own training function."""
    return metrics.keys() >= _OURS


def _row(metrics: Mapping[str, float]) -> str:
    """An epoch's metrics as the terminal shows them."""
    if not _is_ours(metrics):
        return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items()) or "nothing logged"
    return (
        f"train loss {metrics['train/loss']:.4f} {_score(metrics, 'train')}  "
        f"val loss {metrics['val/loss']:.4f} {_score(metrics, 'val')}  "
        f"lr {metrics['lr']:.1e}  {metrics['images_per_second']:,.0f} samples/s"
    )


def _score(metrics: Mapping[str, float], part: str) -> str:
    """A score as the terminal shows it."""
    return next(
        f"{short} {form.format(metrics[key])}"
        for name, (short, form) in SHOWN.items()
        if (key := f"{part}/{name}") in metrics
    )
