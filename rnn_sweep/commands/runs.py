"""A recorded run: what it was made from, what came out, where its files are."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_sweep.config import Config, parse
from rnn_sweep.errors import UserError
from rnn_sweep.files import CONFIG_FILE, OVERRIDES_FILE
from rnn_sweep.quoting import command_line
from rnn_sweep.sweep.identity import TYPED
from rnn_sweep.terminal import duration

if TYPE_CHECKING:
    from rich.console import Console

    from rnn_sweep.tracking.reading import Recorded
    from rnn_sweep.tracking.store import Store

_SECTIONS = ("model", "trainer", "data", "optimizer")
"""Of a configuration that is ours."""


def config_of(store: Store, run: Recorded) -> Config:
    """The configuration that a run recorded, checked like a new one.

    Raises:
        UserError: it recorded none (a sweep's parent run has none), or this version does not take it.
    """
    from rnn_sweep.tracking.reading import SHORT

    name = f"run {run.run_id[:SHORT]} ({run.name})"
    if "sweep" in run.tags and run.parent_id is None:
        best = run.tags.get("best_run_id")
        hint = f"; its best trial is run {best[:SHORT]}" if best else ""
        raise UserError(f"{name} is a sweep, not the run of one network{hint}")
    try:
        tree = read_yaml(store, run, CONFIG_FILE)
    except UserError as error:
        raise UserError(f"{name} is not a network that this program has trained: {error}") from None
    missing = [part for part in _SECTIONS if not isinstance(tree, dict) or not isinstance(tree.get(part), dict)]
    if missing:
        rule = f"its {CONFIG_FILE} has no section {missing[0]!r}"
        raise UserError(f"{name} is not a network that this program has trained: {rule}")
    tree["trainer"]["resume"] = None
    return parse(tree)


def read_yaml(store: Store, run: Recorded, name: str) -> Any:
    """One of the run's YAML files. Raises :class:`UserError` when it is not there, or is no YAML."""
    import yaml

    from rnn_sweep.tracking.reading import fetch

    with tempfile.TemporaryDirectory() as folder:
        try:
            return yaml.safe_load(fetch(store, run, name, Path(folder)).read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{name} of run {run.run_id} cannot be read: {reason:.200}") from None


def command_of(store: Store, run: Recorded) -> str:
    """The command line that makes the run again, of whatever program it is.

    Raises:
        UserError: the run does not say what was typed.
    """
    overrides = read_yaml(store, run, OVERRIDES_FILE) or []
    if not isinstance(overrides, list):
        raise UserError(f"{OVERRIDES_FILE} of run {run.run_id} must be a list of overrides")
    typed = [str(o) for o in overrides if not str(o).startswith(TYPED)]
    return command_line([*_program(Path(run.tags.get("mlflow.source.name", "run.py"))), *typed])


def _program(source: Path) -> list[str]:
    """What started the run, as it is typed in this folder."""
    if source.name == "rnn-sweep" or source.parts[-2:] == ("rnn_sweep", "__main__.py"):
        return ["rnn-sweep", "train"]
    program = str(source.relative_to(Path.cwd())) if source.is_relative_to(Path.cwd()) else source.name
    return [*(["python"] if source.suffix == ".py" else []), program]


def show(store: Store, run: Recorded, console: Console) -> None:
    """Print a run."""
    from rich.table import Table
    from rich.text import Text

    from rnn_sweep.terminal import print_table

    def section(title: str, rows: dict[str, str]) -> None:
        if not rows:
            return
        table = Table(show_header=False, box=None)
        table.add_column(style="cyan")
        table.add_column()
        for key, value in rows.items():
            table.add_row(Text(key), Text(value))
        print_table(table, console, title, style="bold")

    took = "still running" if run.seconds is None else duration(run.seconds)
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
    "confirms trial": "trial.confirms",
    "error": "error",
    "best trial's run": "best_run_id",
    "command": "command",
    "folder": "output_dir",
    "commit": "mlflow.source.git.commit",
}
