"""A recorded run: what it was made from, what came out, where its files are."""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_sweep.config import Config, parse
from rnn_sweep.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from rnn_sweep.tracking.reading import Recorded
    from rnn_sweep.tracking.store import Store

CONFIG_FILE = "config.yaml"
OVERRIDES_FILE = "overrides.yaml"
WEIGHTS_FILE = "weights.safetensors"


def config_of(store: Store, run: Recorded) -> Config:
    """The configuration that a run recorded, checked like a new one.

    Raises:
        UserError: it recorded none (a sweep's parent run has none), or this version does not take it.
    """
    from rnn_sweep.tracking.reading import SHORT

    tree = read_yaml(store, run, CONFIG_FILE)
    if not isinstance(tree, dict) or "model" not in tree:
        best = run.tags.get("best_run_id")
        hint = f"; its best trial is run {best[:SHORT]}" if best else ""
        raise UserError(f"run {run.run_id[:SHORT]} ({run.name}) is a sweep, not the run of one network{hint}")
    tree["trainer"]["resume"] = None
    return parse(tree)


def read_yaml(store: Store, run: Recorded, name: str) -> Any:
    """One of the run's YAML files. Raises :class:`UserError` when it is not there."""
    import yaml

    from rnn_sweep.tracking.reading import fetch

    with tempfile.TemporaryDirectory() as folder:
        return yaml.safe_load(fetch(store, run, name, Path(folder)).read_text(encoding="utf-8"))


def command_of(store: Store, run: Recorded) -> str:
    """The command line that trains the run's network again."""
    overrides = read_yaml(store, run, OVERRIDES_FILE) or []
    typed = [str(o) for o in overrides if not str(o).startswith("trial=")]
    return " ".join(["python run.py", *(shlex.quote(o) for o in typed)])


def show(store: Store, run: Recorded, console: Console) -> None:
    """Print a run."""
    from rich.table import Table

    def section(title: str, rows: dict[str, str]) -> None:
        if not rows:
            return
        table = Table(title=title, title_justify="left", title_style="bold", show_header=False, box=None)
        table.add_column(style="cyan")
        table.add_column(overflow="fold")
        for key, value in rows.items():
            table.add_row(key, value)
        console.print(table)

    took = "still running" if run.seconds is None else f"{run.seconds:.1f} s"
    facts = {"run": run.run_id, "name": run.name, "experiment": run.experiment, "state": run.state}
    facts["started"] = f"{run.started:%Y-%m-%d %H:%M:%S}, {took}"
    facts |= {label: run.tags[tag] for label, tag in _FACTS.items() if run.tags.get(tag)}
    if run.model_id is not None:
        facts["model"] = f"models:/{run.model_id}"
    with contextlib.suppress(UserError):  # a sweep's run has no command of its own
        if run.parent_id is not None or "sweep" not in run.tags:
            facts["again"] = command_of(store, run)
    section("Run", facts)
    section("Metrics", {key: f"{value:.6g}" for key, value in sorted(run.metrics.items())})
    section("Parameters", dict(sorted(run.params.items())))


_FACTS = {
    "sweep": "trial.study_name",
    "trial": "trial.number",
    "retry of trial": "trial.retry_of",
    "error": "error",
    "best trial's run": "best_run_id",
    "command": "command",
    "folder": "output_dir",
    "commit": "mlflow.source.git.commit",
}
