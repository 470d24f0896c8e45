"""What a run shows while it trains: a progress bar in a terminal, one plain line an epoch everywhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from types import TracebackType

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from rnn_sweep.outcome import Outcome, State

log = logging.getLogger(__name__)


class Progress:
    """Progress of one run over all its epochs; log lines appear above the bar. No bar where stderr is no terminal.

    Args:
        epochs: epochs of the whole run.
        done: epochs finished before, in a resumed run.
        steps_per_epoch: optimiser steps in an epoch.
        bar: False for a run that is one of several in the process.
    """

    def __init__(self, epochs: int, done: int, steps_per_epoch: int, *, bar: bool = True) -> None:
        self._epochs = epochs
        self._done = done
        self._start = time.perf_counter()
        self._bar = tqdm(
            total=epochs * steps_per_epoch,
            initial=done * steps_per_epoch,
            desc=f"epoch {min(done + 1, epochs)}/{epochs}",
            unit="step",
            dynamic_ncols=True,
            leave=False,
            mininterval=0.25,
            disable=None if bar else True,
        )
        self._redirect = logging_redirect_tqdm()

    def __enter__(self) -> Progress:
        if not self._bar.disable:
            self._redirect.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if not self._bar.disable:
            self._redirect.__exit__(kind, error, trace)

    def step(self) -> None:
        """One optimiser step is done."""
        self._bar.update()

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch is done."""
        seconds = time.perf_counter() - self._start
        left = seconds / (epoch - self._done) * (self._epochs - epoch)
        log.info(
            "epoch %*d/%d  train loss %.4f %s  val loss %.4f %s  lr %.1e  %s samples/s  ETA %s",
            len(str(self._epochs)),
            epoch,
            self._epochs,
            metrics["train/loss"],
            _score(metrics, "train"),
            metrics["val/loss"],
            _score(metrics, "val"),
            metrics["lr"],
            f"{metrics['images_per_second']:,.0f}",
            tqdm.format_interval(left),
        )
        self._bar.set_description(f"epoch {min(epoch + 1, self._epochs)}/{self._epochs}", refresh=False)
        self._bar.set_postfix_str(f"val {_score(metrics, 'val')}", refresh=False)


_SHOWN = {"accuracy": ("acc", "{:6.2%}"), "r2": ("R²", "{:.4f}")}
"""By score: its short name, and its form."""


def _score(metrics: Mapping[str, float], part: str) -> str:
    """A score as the terminal shows it."""
    return next(
        f"{short} {form.format(metrics[key])}"
        for name, (short, form) in _SHOWN.items()
        if (key := f"{part}/{name}") in metrics
    )


def summary(outcome: Outcome, folder: str, ui: str | None) -> str:
    """The last lines of a run: the result, the output folder, how to open the UI or go on."""
    metrics = outcome.metrics
    parts = [outcome.state.value]
    if outcome.cause:
        parts.append(outcome.cause)
    for name, (short, form) in _SHOWN.items():
        word, test, best = "accuracy" if name == "accuracy" else short, f"test/{name}", f"val/{name}_best"
        if test in metrics:
            parts.append(f"test {word} {form.format(metrics[test]).strip()}")
        if best in metrics:
            epoch = metrics["best_epoch"]
            parts.append(f"best validation {word} {form.format(metrics[best]).strip()} in epoch {epoch:.0f}")
    parts.append(f"{outcome.epochs} epochs in {tqdm.format_interval(outcome.seconds)}")
    parts.append(f"{outcome.images_per_second:,.0f} samples/s")
    lines = ["result:  " + ", ".join(parts), f"folder:  {folder}"]
    if outcome.state is State.INTERRUPTED:
        lines.append(f"go on:   python run.py trainer.resume={folder}")
    if ui is not None:
        lines.append(f"curves:  {ui}")
    return "\n".join(lines)
