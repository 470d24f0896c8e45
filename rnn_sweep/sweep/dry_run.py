"""``hydra.sweeper.dry_run=true``: the space and the first configurations, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from rnn_sweep.storage import quiet
from rnn_sweep.sweep.space import bare
from rnn_sweep.sweep.suggest import Suggester

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

    table = Table(title="Space", title_justify="left")
    for heading in ("parameter", "values", "when"):
        table.add_column(heading, overflow="fold")
    for param in suggester.space.params.values():
        when = " and ".join(c.text for c in suggester.conditions.get(param.key, ()))
        table.add_row(bare(param.key), param.describe(), when)
    console.print(table, markup=False)
    if suggester.space.fixed:
        console.print(f"fixed: {' '.join(suggester.space.fixed)}", markup=False, soft_wrap=True)
    with quiet():
        study = optuna.create_study(sampler=sampler, directions=[StudyDirection[d.upper()] for d in directions])
        for point in points:
            study.enqueue_trial(dict(point))
        for _ in range(max(SHOWN, len(points))):
            trial = study.ask()
            line = " ".join(suggester.overrides(trial))
            console.print(f"trial {trial.number}: {line}", markup=False, highlight=False, soft_wrap=True)
    console.print("dry run: no study, no trial and no file was made")
