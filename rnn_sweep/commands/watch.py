"""A study in the terminal, while it runs or afterwards."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rnn_sweep.commands.keys import Keys, Prompt
from rnn_sweep.storage import quiet
from rnn_sweep.sweep.space.parameters import bare
from rnn_sweep.sweep.status import Status, TrialStatus, look
from rnn_sweep.terminal import clock

if TYPE_CHECKING:
    from optuna import Study

_SECONDS = 2.0
"""Between two looks."""
_REST = 60.0
"""At least so many times as long as a look has taken, so that thousands of trials cost little of a core."""
_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 16
"""Characters of a sparkline."""
_COLUMNS = ("trial", "state", "epoch", "value", "objective", "time", "parameters")
_STYLES = {"complete": "green", "running": "bold", "pruned": "yellow", "diverged": "red", "failed": "red"}


def watch(study: Study, console: Console, *, once: bool, rows: int | None) -> None:
    """Show a study until Ctrl-C, or until it has nothing that runs: no trial, and no sweeper that lives.

    In a terminal keys give it orders, see :mod:`rnn_sweep.commands.keys`.

    Args:
        study: the study.
        console: where; one that is no terminal gets one picture.
        once: one picture.
        rows: trials to list; what fits where None.
    """
    count = rows or max(5, console.height - 14)
    if once or not console.is_terminal:
        console.print(picture(_look(study, count)))
        return
    status, prompt = _look(study, count), Prompt(study)
    with Keys() as keys, Live(console=console, auto_refresh=False) as live:

        def show() -> None:
            live.update(picture(status, prompt.lines() if keys.there else []), refresh=True)

        show()
        spent, until = 0.0, time.monotonic() + _SECONDS
        try:
            while _runs(status):
                if pressed := keys.read(max(0.0, until - time.monotonic())):
                    prompt.press(pressed)
                else:
                    began = time.process_time()
                    status = _look(study, count)
                    spent = time.process_time() - began
                    until = time.monotonic() + max(_SECONDS, _REST * spent)
                show()
        except KeyboardInterrupt:
            return


def as_json(study: Study, rows: int | None) -> str:
    """The same as one JSON object; what is not a number is null."""

    def plain(value: object) -> object:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    everything = len(study.get_trials(deepcopy=False))
    return json.dumps(plain(asdict(_look(study, rows or everything))), indent=2, default=str)


def _look(study: Study, rows: int) -> Status:
    with quiet():
        return look(study, rows)


def _runs(status: Status) -> bool:
    return bool(status.counts.get("running")) or any(worker.state != "dead" for worker in status.workers)


def picture(status: Status, below: Sequence[str] = ()) -> Group:
    """The study as it is drawn, with lines ``below`` it."""
    head = [Text(line, style="bold" if n == 0 else "") for n, line in enumerate(_head(status))]
    return Group(*head, _Trials(status), *[Text(line, style="dim") for line in below])


def _head(status: Status) -> list[str]:
    counts = ", ".join(f"{n} {state}" for state, n in status.counts.items()) or "no trial yet"
    of = "" if status.budget is None else f"/{status.budget}"
    lines = [f"{status.name}: {status.ended}{of} ended ({counts})"]
    if status.best is not None:
        lines.append(f"best: {status.best.values[-1]:.6g} (trial {status.best.number})")
    pace = [] if status.rate is None else [f"{status.rate:,.0f} trials an hour"]
    pace += [] if status.eta is None else [f"ETA {clock(status.eta)}"]
    lines += [", ".join(pace)] if pace else []
    if status.workers:
        each = [f"{w.id} on {w.host} (process {w.pid}) {w.state}" for w in status.workers]
        lines.append(f"sweepers: {', '.join(each)}")
    if status.paused is not None:
        lines.append(f"paused by {status.paused}")
    return lines


class _Trials:
    """The table of trials, with as many columns as the terminal has room for beside a whole parameter."""

    def __init__(self, status: Status) -> None:
        self._rows = [_row(trial) for trial in status.trials]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        names = [name for name in _COLUMNS if name not in self._left_out(options.max_width)]
        table = Table(box=None, pad_edge=False)
        for name in names:
            side: JustifyMethod = "left" if name in ("state", "objective", "parameters") else "right"
            table.add_column(name, justify=side, no_wrap=name != "parameters")
        for row in self._rows:
            table.add_row(*(row[name] for name in names))
        yield table

    def _left_out(self, width: int) -> list[str]:
        """The columns that there is no room for."""
        needed = {name: max([len(name), *(self._least(row, name) for row in self._rows)]) + 1 for name in _COLUMNS}
        out: list[str] = []
        for name in ("objective", "time", "parameters"):
            if sum(needed.values()) - 1 <= width:
                break
            out.append(name)
            del needed[name]
        return out

    @staticmethod
    def _least(row: Mapping[str, Text], name: str) -> int:
        text = row[name].plain
        return max(map(len, text.split(" "))) if name == "parameters" else len(text)


def _row(trial: TrialStatus) -> dict[str, Text]:
    params = " ".join(f"{bare(key).rpartition('.')[2]}={_cell(value)}" for key, value in trial.params.items())
    cells = {
        "trial": str(trial.number),
        "epoch": f"{trial.epoch}/{trial.epochs}" if trial.epoch and trial.epochs else str(trial.epoch or ""),
        "value": f"{trial.values[-1]:.5g}" if trial.values else "",
        "objective": sparkline(trial.values),
        "time": "" if trial.seconds is None else clock(trial.seconds),
        "parameters": params,
    }
    return {"state": Text(trial.state, style=_STYLES.get(trial.state, "")), **{k: Text(v) for k, v in cells.items()}}


def sparkline(values: Sequence[float]) -> str:
    """The values as bars between the least and the most of them; of many, as many as fit, the last one among them."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    step = max(1, math.ceil(len(finite) / _WIDTH))
    low, span = min(finite), max(finite) - min(finite)
    picked = finite[::-1][::step][::-1]
    top = len(_BARS) - 1
    return "".join(_BARS[round(top * (value - low) / span) if span else 0] for value in picked)


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
