"""Is the simulator right? Real sweeps beside it, and what a trial costs beside its epochs."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from search_record import HERE, Bench, Record, composed, sweep_of
from search_simulator import Clock, Simulation

from rnn_sweep.storage import open_storage

if TYPE_CHECKING:
    from optuna import Study

SEEDS = (1, 2, 3)
PRUNER = "hydra/sweeper/pruner=median"
"""Whose decisions are compared, too."""
TRIALS = 30
FEW = 10
"""Trials of the shorter sweep; what more trials cost is what a trial costs."""


def sweep(bench: Bench, folder: Path, name: str, *overrides: str) -> tuple[Study, float]:
    """A real sweep with one trial in flight; returns its study and its CPU seconds."""
    import optuna

    line = [sys.executable, str(HERE.parent / "run.py"), "-m", "hydra/sweeper=optuna", *bench.overrides, *overrides]
    line += [f"trainer.epochs={bench.epochs}", "hydra.sweeper.n_jobs=1", "hydra.sweeper.report=false"]
    before = _children()
    subprocess.run([*line, f"hydra.sweeper.study_name={name}"], cwd=folder, check=True, capture_output=True)
    spent = _children() - before
    storage = open_storage(f"journal://{folder}/studies/{name}.journal")
    return optuna.load_study(study_name=name, storage=storage), spent


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def check(bench: Bench) -> None:
    """Print how far real sweeps and the simulator are from each other."""
    made = Record.load(bench.file)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        studies = []
        for seed in SEEDS:
            options = [PRUNER, f"hydra.sweeper.sampler.seed={seed}", f"hydra.sweeper.n_trials={TRIALS}"]
            study, spent = sweep(bench, folder, f"real{seed}", *options)
            studies.append(study)
            _beside(bench, made, study, seed)
            if seed == SEEDS[0]:
                options[-1] = f"hydra.sweeper.n_trials={FEW}"
                fewer, less = sweep(bench, folder, "fewer", *options)
                print(f"a trial costs {_beside_epochs(made, study, spent, fewer, less):.3f} CPU s beside its epochs")
    _curves(made, studies)


def _curves(made: Record, studies: list[Study]) -> None:
    trials = [trial for study in studies for trial in study.trials]
    gaps, ends = [], []
    for trial in trials:
        curve = made.score[(0, *made.index(trial.params))]
        gaps += [abs(value - curve[step - 1]) for step, value in trial.intermediate_values.items()]
        if trial.value is not None:
            ends.append(trial.value - curve.max())
    print(
        f"{len(trials)} real trials beside the nearest recorded one: an epoch's score differs by "
        f"{100 * np.mean(gaps):.2f} points on average, a complete trial's value by {100 * np.mean(np.abs(ends)):.2f} "
        f"(mean with its sign {100 * np.mean(ends):+.2f})"
    )


def _beside(bench: Bench, made: Record, study: Study, seed: int) -> None:
    trials = study.trials
    epochs = sum(len(trial.intermediate_values) for trial in trials)
    pruned = sum(trial.state.name == "PRUNED" for trial in trials)
    found = []
    for other in range(20):
        asked = sweep_of(composed(bench, [PRUNER, f"hydra.sweeper.sampler.seed={other}"]))
        clock = Clock(workers=1, start_seconds=bench.start_seconds, epochs=epochs, seconds=0.0)
        found.append(Simulation(asked, made, clock, 0).run())
    best = [100 * result.points[-1].best for result in found]
    low, high = np.percentile(best, [10, 90])
    print(
        f"sampler seed {seed}: best {100 * study.best_value:.2f} after {epochs} epochs, {pruned} of {len(trials)} "
        f"trials pruned; simulated: {statistics.fmean(best):.2f} (80 % in {low:.2f} to {high:.2f}), "
        f"{statistics.fmean(r.pruned for r in found):.0f} of {statistics.fmean(r.trials for r in found):.0f} pruned"
    )


def _beside_epochs(made: Record, study: Study, spent: float, fewer: Study, less: float) -> float:
    """CPU seconds of a trial beside its epochs: of the trials that the longer sweep has more, less their training."""
    speed = made.epoch_seconds()
    training = [
        sum(len(trial.intermediate_values) * speed[made.index(trial.params)] for trial in each.trials)
        for each in (study, fewer)
    ]
    more = len(study.trials) - len(fewer.trials)
    return float((spent - less - (training[0] - training[1])) / more)
