"""Dry run (``hydra.sweeper.dry_run=true``): the space and the first configurations, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rnn_sweep.storage import quiet
from rnn_sweep.sweep.space.parameters import bare
from rnn_sweep.sweep.space.suggest import Suggester
from rnn_sweep.terminal import print_table

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

SHOWN = 5
"""Configurations."""


def show(
    suggester: Suggester,
    points: Sequence[Mapping[str, Any]],
    sampler: BaseSampler,
    directions: Sequence[str],
    console: Console,
) -> None:
    """Print what a sweep would do. The sampler works in memory, without any results to learn from."""
    import optuna
    from optuna.study import StudyDirection

    table = Table()
    for heading in ("parameter", "values", "when"):
        table.add_column(heading)
    for param in suggester.space.params.values():
        when = " and ".join(c.text for c in suggester.conditions.get(param.key, ()))
        table.add_row(*map(Text, (bare(param.key), param.describe(), when)))
    print_table(table, console, "Space")
    if suggester.space.fixed:
        console.print(f"fixed: {' '.join(suggester.space.fixed)}", markup=False, soft_wrap=True)
    with quiet():
        study = optuna.create_study(sampler=sampler, directions=[StudyDirection[d.upper()] for d in directions])
        for point in points:
            study.enqueue_trial(dict(point))
        for _ in range(max(SHOWN, len(points))):
            trial = study.ask()
            overrides = suggester.overrides(trial)
            trial.set_user_attr("overrides", overrides)
            console.print(f"trial {trial.number}: {' '.join(overrides)}", markup=False, highlight=False, soft_wrap=True)
    console.print("dry run: no study, no trial and no file was made")
