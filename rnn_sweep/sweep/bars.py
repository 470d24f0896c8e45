"""Bars of a study's running trials, drawn from what their jobs have told the study, wherever they run."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rnn_sweep.sweep.space.parameters import bare
from rnn_sweep.sweep.study import SURPLUS_ATTR
from rnn_sweep.terminal import clock

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)

SECONDS = 1.0
"""Between two looks at the study."""
REST = 50.0
"""At least so many times as long as a look has taken, so that a large study in a slow store costs little."""
ROWS = 12
"""Trials that have a bar; of more it is said how many there are."""
WIDTH = 24
"""Characters of a bar, or a fifth of a narrow terminal."""
NARROW = 40
"""Characters of a terminal that is too narrow for bars."""
EPOCHS_ATTR = "epochs"
"""Note on a trial: how many epochs its job will have."""


class Bars:
    """The bars of a study's running trials."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._running: Sequence[FrozenTrial] = ()
        self._next = 0.0

    def changed(self) -> None:
        """A trial has begun or ended: look again for the next picture."""
        self._next = 0.0

    def rows(self, width: int) -> Iterator[RenderableType]:
        """A line for each trial, as wide as the terminal at most; none is looked at more often than is worth it."""
        if time.monotonic() >= self._next:
            self._look()
        if width < NARROW:
            return
        if self._running:
            table = Table.grid(padding=(0, 2))
            for trial in self._running[:ROWS]:
                table.add_row(*_row(trial, width))
            yield table
        if len(self._running) > ROWS:
            yield Text(f"and {len(self._running) - ROWS} more")

    def _look(self) -> None:
        from optuna.trial import TrialState

        began = time.monotonic()
        try:
            found = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            self._running = [trial for trial in found if SURPLUS_ATTR not in trial.user_attrs]
        except Exception as error:  # the sweep itself says what is wrong with the store, and waits for it
            log.debug("no look at the running trials: %s", error)
        took = time.monotonic() - began
        self._next = time.monotonic() + max(SECONDS, REST * took)


def epochs_of(trial: FrozenTrial) -> int | None:
    """How many epochs the trial's job is to have, where it has said so; of several jobs the first one."""
    noted = trial.user_attrs.get(EPOCHS_ATTR, trial.user_attrs.get(f"{EPOCHS_ATTR}.0"))
    return noted if isinstance(noted, int) else None


def _row(trial: FrozenTrial, width: int) -> list[RenderableType]:
    total = epochs_of(trial)
    epoch = max(trial.intermediate_values, default=0)
    shown = f"{epoch}/{total}" if total else str(epoch or "")
    value = f"{trial.intermediate_values[epoch]:.5g}" if epoch else ""
    began = trial.datetime_start or datetime.datetime.now()
    seconds = (datetime.datetime.now() - began).total_seconds()
    bar = ProgressBar(total=total or None, completed=epoch, width=min(WIDTH, width // 5), pulse=not total)
    fixed: list[RenderableType] = [f"trial {trial.number}", bar, shown, value, clock(seconds)]
    used = sum(len(str(cell)) for cell in fixed if isinstance(cell, str)) + (bar.width or 0) + 12
    return [*fixed, Text(_params(trial, width - used), no_wrap=True)]


def _params(trial: FrozenTrial, room: int) -> str:
    """As many of the parameters as there is room for, none of them in part."""
    text = ""
    for key, value in trial.params.items():
        shown = f"{bare(key).rpartition('.')[2]}={f'{value:.4g}' if isinstance(value, float) else value}"
        if len(text) + len(shown) + 1 > room:
            break
        text += f"{shown} "
    return text.rstrip()
