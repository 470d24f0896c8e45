"""What a sweep leaves: a leaderboard, the best trial as a command, how to go on, and a results file."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rnn_sweep.sweep.progress import best_trial
from rnn_sweep.sweep.replicates import ATTR
from rnn_sweep.sweep.space import bare

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

RESULTS_FILE = "optimization_results.yaml"


@dataclass(frozen=True)
class Command:
    """How the program was started, to write other command lines of it."""

    arguments: Sequence[str]
    program: Sequence[str] = field(default_factory=lambda: program())

    def plain(self, overrides: Sequence[str]) -> str:
        """One run with these overrides: the user's flags stay, what belongs to the sweep goes."""
        keep = [a for a in self._flags() if not _is_override(a)]
        return _quote([*self.program, *keep, *overrides])

    def resume(self, study_name: str) -> str:
        """The same sweep on the same study."""
        line = [a for a in self.arguments if not a.startswith("hydra.sweeper.study_name=")]
        return _quote([*self.program, *line, f"hydra.sweeper.study_name={study_name}"])

    def _flags(self) -> list[str]:
        return [a for a in self.arguments if a not in ("-m", "--multirun")]


def program() -> list[str]:
    """How this program was started, up to its arguments; ``python`` stands for the interpreter."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None and spec.name not in ("__main__", "pytest.__main__"):
        return ["python", "-m", spec.name.removesuffix(".__main__")]
    script = Path(sys.argv[0])
    return ["python", str(script)] if script.suffix == ".py" else [script.name]


def _is_override(argument: str) -> bool:
    return not argument.startswith("-") and ("=" in argument or argument.startswith("~"))


def _quote(parts: Sequence[str]) -> str:
    return " ".join(part if re.fullmatch(r"[\w@%+=:,./~-]+", part) else shlex.quote(part) for part in parts)


def winners(study: Study) -> list[FrozenTrial]:
    """The best trial, or with several objectives those of the Pareto front; empty where none is feasible."""
    from optuna.trial import TrialState

    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return []
    if len(study.directions) > 1:
        front: list[FrozenTrial] = study.best_trials
        return front
    best = best_trial(study)
    return [best] if best is not None else []


def write_results(study: Study, folder: Path, url: str) -> Path:
    """Write ``optimization_results.yaml`` with the official sweeper's keys, and some more."""
    best = winners(study)
    content: dict[str, Any] = {"name": "optuna"}
    if len(study.directions) > 1:
        content["solutions"] = [{"params": t.params, "values": list(t.values), **_more(t)} for t in best]
    elif best:
        content |= {"best_params": best[0].params, "best_value": best[0].value, **_more(best[0])}
    content |= {"study_name": study.study_name, "storage": url}
    path = folder / RESULTS_FILE
    folder.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".tmp").write_text(OmegaConf.to_yaml(OmegaConf.create(content)))
    path.with_suffix(".tmp").replace(path)
    return path


def _more(trial: FrozenTrial) -> dict[str, Any]:
    replicates = {key: trial.user_attrs[key] for key in ("sd", ATTR) if key in trial.user_attrs}
    return {"trial": trial.number, "run_id": trial.user_attrs.get("run_id"), **replicates}


def ranked(study: Study) -> list[FrozenTrial]:
    """The complete trials, the best first and infeasible ones last; with several objectives the Pareto front."""
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    if len(study.directions) > 1:
        return winners(study)
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    trials.sort(key=lambda t: t.values[0], reverse=study.directions[0] is StudyDirection.MAXIMIZE)
    trials.sort(key=lambda t: any(v > 0 for v in t.constraints.values()))
    return trials


def leaderboard(study: Study, rows: int = 10) -> Table:
    """The best complete trials with their parameters; with several objectives the Pareto front."""
    trials = ranked(study)
    title = "Leaderboard" if len(study.directions) == 1 else "Pareto front"
    keys = list(dict.fromkeys(key for t in trials[:rows] for key in t.params))
    table = Table(title=f"{title} of {study.study_name}", title_justify="left")
    table.add_column("trial", justify="right")
    for i in range(len(study.directions)):
        table.add_column("value" if len(study.directions) == 1 else f"value {i}", justify="right")
    for key in keys:
        table.add_column(bare(key), justify="right", overflow="fold")
    for trial in trials[:rows]:
        broken = any(v > 0 for v in trial.constraints.values())
        sd = f" ± {trial.user_attrs['sd']:.2g}" if "sd" in trial.user_attrs else ""
        values = [f"{v:.6g}" + sd * (i == 0) + (" (infeasible)" if broken else "") for i, v in enumerate(trial.values)]
        table.add_row(str(trial.number), *values, *[_cell(trial.params.get(key, "")) for key in keys])
    return table


def _cell(value: Any) -> Text:
    return Text(f"{value:.4g}" if isinstance(value, float) else str(value))


def report(study: Study, console: Console, command: Command, path: Path, storage: str) -> None:
    """Print the leaderboard and the commands."""
    best = winners(study)
    if best:
        console.print(leaderboard(study))
        name = "best" if len(study.directions) == 1 else "first of the front"
        line = command.plain(best[0].user_attrs.get("overrides", []))
        console.print(f"{name} (trial {best[0].number}):\n  {line}", soft_wrap=True, markup=False, highlight=False)
    text = f"study {study.study_name} in {storage}; go on with:\n  {command.resume(study.study_name)}"
    console.print(f"{text}\nresults: {path}", soft_wrap=True, markup=False, highlight=False)
