"""Results of a sweep: leaderboard, the best trial as a command, how to resume, and the results file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rnn_sweep.files import RESULTS_FILE, replacing
from rnn_sweep.provenance import program
from rnn_sweep.quoting import assigned, command_line
from rnn_sweep.storage import quiet
from rnn_sweep.sweep.confirm import Confirmed, by_value, configurations, confirmed
from rnn_sweep.sweep.constraints import feasible, required
from rnn_sweep.sweep.replicates import ATTR
from rnn_sweep.sweep.space.parameters import bare
from rnn_sweep.sweep.study import REUSED_ATTR
from rnn_sweep.terminal import print_table
from rnn_sweep.trial import SEGMENT_ATTR

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

STUDY_KEY = "hydra.sweeper.study_name"


@dataclass(frozen=True)
class Command:
    """How the program was started, to write other command lines of it."""

    arguments: Sequence[str]
    program: Sequence[str] = field(default_factory=lambda: program())
    single: Sequence[str] = ()
    """Overrides that a single run needs, where the configuration asks for a sweep by itself."""

    def plain(self, overrides: Sequence[str]) -> str:
        """One run with these overrides: the user's flags stay, what belongs to the sweep goes."""
        keep = [a for a in self._flags() if not _is_override(a) or _is_of_run(a)]
        return command_line([*self.program, *keep, *self.single, *overrides])

    def resume(self, study_name: str) -> str:
        """The same sweep on the same study."""
        line = [a for a in self.arguments if a.partition("=")[0].lstrip("+") != STUDY_KEY]
        return command_line([*self.program, *line, assigned(STUDY_KEY, study_name)])

    def _flags(self) -> list[str]:
        return [a for a in self.arguments if a not in ("-m", "--multirun")]


def _is_override(argument: str) -> bool:
    return not argument.startswith("-") and ("=" in argument or argument.startswith("~"))


def _is_of_run(override: str) -> bool:
    """Whether an override of Hydra's own settings, such as ``hydra.job.chdir=true``, holds for a single run, too."""
    key = override.lstrip("+~").partition("=")[0].replace("/", ".")
    return key.startswith("hydra.") and key.split(".")[1] not in ("sweeper", "launcher", "sweep", "mode")


def winners(study: Study) -> list[FrozenTrial]:
    """The best trial, or with several objectives those of the Pareto front; empty where none is feasible.

    Once the best configurations were confirmed it is the one with the best mean.
    """
    from optuna.trial import TrialState

    if len(study.directions) > 1:
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return _front(study, complete) if complete else []
    return [each.trial for each in confirmed(study)[:1]] or configurations(study)[:1]


def _front(study: Study, complete: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The Pareto front of the feasible trials; Optuna's own takes a trial without a value for a constraint as one."""
    import optuna

    names = required(complete)
    good = [t for t in complete if feasible(t, names)]
    with quiet():
        alone = optuna.create_study(directions=study.directions)
        alone.add_trials(good)  # which numbers them anew
        return [good[t.number] for t in alone.best_trials]


def write_results(study: Study, folder: Path, url: str) -> Path:
    """Write ``optimization_results.yaml`` with the official sweeper's keys, and some more."""
    best = winners(study)
    content: dict[str, Any] = {"name": "optuna"}
    if len(study.directions) > 1:
        content["solutions"] = [{"params": t.params, "values": list(t.values), **_more(t)} for t in best]
    elif best:
        content |= {
            "best_params": best[0].params,
            "best_value": best[0].value,
            **_more(best[0]),
            **_confirmation(study),
        }
    content |= {"study_name": study.study_name, "storage": url}
    path = folder / RESULTS_FILE
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(OmegaConf.to_yaml(OmegaConf.create(content)))
    return path


def _more(trial: FrozenTrial) -> dict[str, Any]:
    replicates = {key: trial.user_attrs[key] for key in ("sd", ATTR) if key in trial.user_attrs}
    return {"trial": trial.number, "run_id": trial.user_attrs.get("run_id"), **replicates}


def _confirmation(study: Study) -> dict[str, Any]:
    """Of the winner: mean, confidence interval and the value of each seed; nothing where it was not confirmed."""
    best = next(iter(confirmed(study)), None)
    if best is None:
        return {}
    interval = [best.mean - best.margin, best.mean + best.margin]
    return {"confirmed": {"mean": best.mean, "interval": interval, "values": dict(best.values)}}


def ranked(study: Study) -> list[FrozenTrial]:
    """The complete trials, the best first and infeasible ones last; with several objectives the Pareto front.

    Confirmed ones come first, by their means. Those that confirm them are none of the search, and left out.
    """
    if len(study.directions) > 1:
        return winners(study)
    first = [each.trial for each in confirmed(study)]
    numbers = {trial.number for trial in first}
    return [*first, *(trial for trial in by_value(study) if trial.number not in numbers)]


def print_leaderboard(study: Study, console: Console, rows: int = 10) -> None:
    """Print the best complete trials with their parameters; with several objectives the Pareto front."""
    title = "Leaderboard" if len(study.directions) == 1 else "Pareto front"
    print_table(leaderboard(study, rows), console, f"{title} of {study.study_name}")


def leaderboard(study: Study, rows: int) -> Table:
    """The best complete trials with their parameters."""
    trials = ranked(study)
    keys = list(dict.fromkeys(key for t in trials[:rows] for key in t.params))
    table = Table()
    table.add_column("trial", justify="right")
    for i in range(len(study.directions)):
        table.add_column("value" if len(study.directions) == 1 else f"value {i}", justify="right")
    means = {each.trial.number: each for each in confirmed(study)}
    if means:
        table.add_column("confirmed", justify="right")
    for key in keys:
        table.add_column(bare(key), justify="right")
    names = required(trials)
    for trial in trials[:rows]:
        broken = not feasible(trial, names)
        sd = f" ± {trial.user_attrs['sd']:.2g}" if "sd" in trial.user_attrs else ""
        values = [f"{v:.6g}" + sd * (i == 0) + (" (infeasible)" if broken else "") for i, v in enumerate(trial.values)]
        if means:
            values.append(_mean(means.get(trial.number)))
        number = f"{trial.number} (reused)" if REUSED_ATTR in trial.user_attrs else str(trial.number)
        table.add_row(number, *values, *[_cell(trial.params.get(key, "")) for key in keys])
    return table


def _mean(found: Confirmed | None) -> str:
    return "" if found is None else f"{found.mean:.6g} ± {found.margin:.2g} ({len(found.values)} seeds)"


def _cell(value: Any) -> Text:
    return Text(f"{value:.4g}" if isinstance(value, float) else str(value))


def print_ways_on(study: Study, console: Console, command: Command, storage: str) -> None:
    """Print the commands that train the best trial again, and go on with the study."""
    best = winners(study)
    if best:
        name = "best" if len(study.directions) == 1 else "first of the front"
        line = command.plain(best[0].user_attrs.get("overrides", []))
        last = " in its last segment" if SEGMENT_ATTR in best[0].user_attrs else ""
        told = f"{name} (trial {best[0].number}{last}):\n  {line}"
        console.print(told, soft_wrap=True, markup=False, highlight=False)
    text = f"study {study.study_name} in {storage}; go on with:\n  {command.resume(study.study_name)}"
    console.print(text, soft_wrap=True, markup=False, highlight=False)
