"""``python run.py -m …``: sweeps of the training task itself, on the digits, with everything recorded."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import yaml

from rnn_sweep.storage import open_storage
from tests import warm
from tests.conftest import Run, command
from tests.faults.forge import forge
from tests.test_run import runs

pytestmark = pytest.mark.slow

SMALL = ["experiment=smoke", "trainer.epochs=4", "model.hidden_dim=8"]
OPTUNA = ["-m", "hydra/sweeper=optuna", *SMALL, "hydra.sweeper.sampler.seed=1"]


def results(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("multirun/*/*/optimization_results.yaml")
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


def test_an_optuna_sweep_is_one_parent_with_its_trials(run: Run, tmp_path: Path) -> None:
    """The whole of the main use: search, pruning, records, results, and the same study once more."""
    done = run(
        *OPTUNA,
        "hydra.sweeper.n_trials=8",
        "hydra.sweeper.study_name=s",
        "hydra.sweeper.n_jobs=2",
        "hydra/sweeper/pruner=median",
        "hydra.sweeper.pruner.n_startup_trials=1",
        "hydra.sweeper.params={optimizer.lr:'tag(log,interval(1e-6,1e-1))'}",
    )
    assert done.returncode == 0, done.stderr
    recorded = runs(tmp_path)
    (parent,) = [r for r in recorded if "mlflow.parentRunId" not in r.data.tags]
    children = [r for r in recorded if r is not parent]
    assert parent.data.tags["mlflow.runName"] == "s"
    assert len(children) == parent.data.metrics["trials"] == 8
    assert {r.data.tags["mlflow.parentRunId"] for r in children} == {parent.info.run_id}
    assert {r.data.tags["trial.number"] for r in children} == {str(n) for n in range(8)}
    assert {r.info.status for r in recorded} == {"FINISHED"}
    states = [r.data.tags["state"] for r in children]
    assert set(states) == {"complete", "pruned"}
    assert "0 failed" in done.stdout
    assert f"{states.count('pruned')} pruned" in done.stdout
    found = results(tmp_path)  # one sweep, one folder
    assert found["best_value"] == parent.data.metrics["best_value"]
    best = next(r for r in children if r.info.run_id == found["run_id"])
    assert best.data.tags["trial.number"] == str(found["trial"])
    assert float(best.data.params["optimizer.lr"]) == found["best_params"]["optimizer.lr"]
    folders = {path.parent.name for path in tmp_path.glob("multirun/*/*/*/result.json")}
    assert folders == {str(n) for n in range(8)}

    again = run(*OPTUNA, "hydra.sweeper.n_trials=9", "hydra.sweeper.study_name=s")
    assert again.returncode == 0, again.stderr
    assert len([r for r in runs(tmp_path) if "mlflow.parentRunId" not in r.data.tags]) == 1
    assert len(runs(tmp_path)) == 10


def test_a_configuration_that_ran_is_not_trained_again(run: Run, tmp_path: Path) -> None:
    """Reuse over a real store: records are copied, and no job's folder is made."""
    space = ["hydra.sweeper.params=null", "model.layers=range(1,4)", "optimizer.lr=0.01,0.02"]
    done = run(*OPTUNA, "hydra/sweeper/sampler=random", "hydra.sweeper.n_trials=30", *space)
    assert done.returncode == 0, done.stderr
    assert "every point of the space was tried" in done.stdout
    recorded = runs(tmp_path)
    children = [r for r in recorded if "mlflow.parentRunId" in r.data.tags]
    reused = [r for r in children if "reused" in r.data.tags]
    assert reused, "seed 1 asks for a point twice"
    assert len(children) == 6 + len(reused)
    assert len(list(tmp_path.glob("multirun/*/*/*/result.json"))) == 6
    for child in reused:
        (source,) = [r for r in children if r.info.run_id == child.data.tags["reused.run_id"]]
        assert child.info.run_name == f"trial {child.data.tags['trial.number']} (reused)"
        assert child.data.tags["reused"] == source.info.run_name
        assert child.data.params == source.data.params
        assert child.data.metrics == source.data.metrics
    (parent,) = [r for r in recorded if r not in children]
    assert parent.data.metrics["trials/reused"] == len(reused)
    (page,) = tmp_path.glob("multirun/*/*/report.html")
    assert f"{len(reused)} of them did not run" in page.read_text()


def test_the_default_space_needs_nothing_typed(run: Run) -> None:
    done = run(*OPTUNA, "hydra.sweeper.dry_run=true")
    assert done.returncode == 0, done.stderr
    for key in ("model.hidden_dim", "model.layers", "model.nonlinearity", "optimizer.lr"):
        assert key in done.stdout


REFUSED = [
    (["model.layers=range(0,2)"], ["model.layers", ">= 1", "0"]),
    (["optimizer.lr=interval(-1,1)"], ["optimizer.lr", "> 0"]),
    (["model.nonlinearity=choice(relu,foo)"], ["model.nonlinearity", "foo"]),
    (["objective=val/acuracy"], ["objective", "val/acuracy", "val/accuracy"]),
    (["tracking.uri=sqlite:////proc/nowhere/mlflow.db"], ["tracking.uri"]),
]


def test_a_space_that_the_task_would_refuse_costs_nothing(tmp_path: Path) -> None:
    """Five mistakes through the real command, each of which leaves nothing behind."""
    for (_, words), answer in zip(REFUSED, forge([[*OPTUNA, *row] for row, _ in REFUSED], tmp_path), strict=True):
        assert answer.status == 2
        assert "Traceback" not in answer.text
        for word in words:
            assert word in answer.text
        assert not (answer.folder / "multirun").exists()
        assert not runs(answer.folder) if (answer.folder / "mlflow.db").exists() else True


def test_a_grid_is_one_parent_with_its_jobs(run: Run, tmp_path: Path) -> None:
    """The main use of a plain grid, with its records."""
    done = run("-m", *SMALL, "seed=1,2,3")
    assert done.returncode == 0, done.stderr
    recorded = runs(tmp_path)
    (parent,) = [r for r in recorded if "mlflow.parentRunId" not in r.data.tags]
    children = [r for r in recorded if r is not parent]
    assert {r.data.params["seed"] for r in children} == {"1", "2", "3"}
    assert {r.data.tags["mlflow.runName"] for r in children} == {"seed=1", "seed=2", "seed=3"}
    highest = max(r.data.metrics["val/accuracy_best"] for r in children)
    best = next(r for r in children if r.info.run_id == parent.data.tags["best_run_id"])
    assert parent.data.metrics["trials/complete"] == 3
    assert parent.data.metrics["best_value"] == best.data.metrics["val/accuracy_best"] == highest
    number = int(parent.data.metrics["best_trial"])
    assert best.data.params["seed"] == str(number + 1)
    assert f"Trial {number} has the highest val/accuracy" in parent.data.tags["mlflow.note.content"]
    assert "Leaderboard of grid" in done.stdout
    assert "study created" not in done.stderr
    (page,) = (tmp_path / "mlruns").glob(f"*/{parent.info.run_id}/artifacts/report.html")
    assert f"seed={number + 1}</pre>" in page.read_text()  # the command of the best run ends with what is its own
    assert f"/runs/{best.info.run_id}/model-metrics?workflowType=machine_learning" in page.read_text()
    assert {r.data.tags["mlflow.parentRunId"] for r in children} == {parent.info.run_id}
    assert parent.data.metrics["trials"] == 3
    assert {r.info.status for r in recorded} == {"FINISHED"}


def test_a_grids_report_tells_how_each_job_of_this_grid_ended(run: Run, tmp_path: Path) -> None:
    """Jobs that are complete, diverged or took too long: what a grid's page says of each."""
    line = ["-m", *SMALL, "tracking=off", "seed=1,2"]
    assert run(*line, "hydra.sweep.dir=without", "hydra.sweeper.report=false").returncode == 0
    assert not list((tmp_path / "without").glob("*.html"))
    done = run(
        *line,
        "hydra.sweep.dir=out",
        "optimizer=sgd",
        "scheduler=none",
        "trainer.clip_norm=null",
        "optimizer.lr=0.01,1e38",
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<li>4 trials: 2 complete, 2 diverged" in page
    assert {path.name for path in (tmp_path / "out").glob("*.png")} >= {"history.png", "intermediate.png"}
    failed = run(*line, "hydra.sweep.dir=late", "trainer.timeout=100,0.001")
    assert failed.returncode == 1
    assert "<li>4 trials: 2 complete, 2 failed" in (tmp_path / "late" / "report.html").read_text()


@pytest.mark.parametrize("override", ["tracking=off", "tracking.uri=sqlite:///elsewhere.db"])
def test_a_grids_own_run_goes_where_its_jobs_do(run: Run, tmp_path: Path, override: str) -> None:
    """The parent's store is that of its jobs, whatever the tracking's settings."""
    (tmp_path / "mlflow.db").unlink()
    done = run("-m", *SMALL, "seed=1,2", override)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "mlflow.db").exists()
    assert (tmp_path / "elsewhere.db").exists() is ("elsewhere" in override)


@pytest.mark.usefixtures("run")
def test_the_runs_of_a_killed_grid_are_closed(tmp_path: Path) -> None:
    line = ["-m", *SMALL, "trainer.epochs=100000", "seed=1,2", "hydra.sweep.dir=out"]
    grid = warm.Popen(command(*line), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    boxes = [tmp_path / "out" / name / "mlflow-outbox.jsonl" for name in ("0", "1", ".")]
    sync = [sys.executable, "-m", "rnn_sweep", "sync"]
    try:
        while not all(box.exists() and '"epoch"' in box.read_text() for box in boxes[:2]):
            assert grid.poll() is None
            time.sleep(0.1)
        alive = warm.run(sync, cwd=tmp_path, capture_output=True, text=True, check=False)
    finally:
        grid.kill()
        grid.wait()
    assert (alive.returncode, alive.stdout.count("its run is alive")) == (1, 3)
    assert [r.info.status for r in runs(tmp_path)] == ["RUNNING"] * 3
    done = warm.run(sync, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [r.info.status for r in runs(tmp_path)] == ["KILLED"] * 3
    assert not [box for box in boxes if box.exists()]


def test_a_grid_is_checked_before_its_first_job(run: Run, tmp_path: Path) -> None:
    done = run("-m", *SMALL, "model.layers=1,0")
    assert done.returncode == 2
    assert "model.layers" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]
    assert not runs(tmp_path)


def test_replicates_score_a_trial_by_the_mean_over_seeds(run: Run, tmp_path: Path) -> None:
    """Several real runs for each trial, each recorded."""
    space = "hydra.sweeper.params={optimizer.lr:'tag(log,interval(1e-3,1e-2))'}"
    sweep = ["hydra.sweeper.n_trials=2", "hydra.sweeper.replicates=3", "hydra.sweeper.study_name=r", space]
    done = run(*OPTUNA, *sweep, "seed=5")
    assert done.returncode == 0, done.stderr
    assert " ± " in done.stdout
    study = optuna.load_study(study_name="r", storage=open_storage(f"journal://{tmp_path}/studies/r.journal"))
    recorded = {r.info.run_id: r for r in runs(tmp_path)}
    assert len(recorded) == 7
    for trial in study.trials:
        rows = trial.user_attrs["replicates"]
        assert [row["seed"] for row in rows] == [5, 6, 7]
        values = [row["values"][0] for row in rows]
        assert trial.value == pytest.approx(statistics.fmean(values))
        assert trial.user_attrs["sd"] == pytest.approx(statistics.stdev(values))
        for replicate, row in enumerate(rows):
            child = recorded[row["run_id"]]
            assert child.data.params["seed"] == str(row["seed"])
            assert child.data.tags["mlflow.runName"] == f"trial {trial.number} replicate {replicate}"
            assert child.data.metrics["val/accuracy_best"] == row["values"][0]
        curves = [trial.user_attrs[f"steps.{replicate}"] for replicate in range(3)]
        for step, mean in trial.intermediate_values.items():
            assert mean == pytest.approx(statistics.fmean(curve[str(step)] for curve in curves))
        assert len(trial.intermediate_values) == 4
    assert results(tmp_path)["replicates"] == study.best_trial.user_attrs["replicates"]


def test_all_replicates_of_a_pruned_trial_stop(run: Run, tmp_path: Path) -> None:
    threshold = ["hydra/sweeper/pruner=threshold", "hydra.sweeper.pruner.lower=2.0"]  # no accuracy reaches it
    sweep = ["hydra.sweeper.n_trials=1", "hydra.sweeper.replicates=2", *threshold]
    done = run(*OPTUNA, *sweep)
    assert "1 pruned" in done.stdout, done.stdout + done.stderr
    children = [r for r in runs(tmp_path) if "mlflow.parentRunId" in r.data.tags]
    assert len(children) == 2
    assert {r.data.tags["state"] for r in children} == {"pruned"}


def test_replicates_set_the_seeds_themselves(run: Run, tmp_path: Path) -> None:
    done = run(*OPTUNA, "hydra.sweeper.replicates=3", "seed=range(1,4)")
    assert done.returncode == 2
    assert "hydra.sweeper.replicates sets the seeds itself, got 3 with seed in the space" in done.stderr
    assert list(tmp_path.glob("studies/*")) == []


def test_relative_places_hold_in_jobs_with_working_folders_of_their_own(run: Run, tmp_path: Path) -> None:
    """The store, a file of data and the study: all relative to where the sweep was started."""
    (tmp_path / "mlflow.db").unlink()
    x = np.random.RandomState(0).normal(size=(60, 5, 3)).astype("float32")
    np.savez(tmp_path / "own.npz", X=x, y=np.arange(60) % 2)
    own = ["data=npz", "data.file=own.npz", "data.batch_size=8", "data.val_size=0.2", "trainer.epochs=1"]
    own += ["hydra.job.chdir=true", "hydra/launcher=basic", "tracking.uri=sqlite:///runs.db"]
    study = ["hydra/sweeper=optuna", "hydra.sweeper.storage=journal://own.journal", "hydra.sweeper.report=false"]
    space = ["hydra.sweeper.params={optimizer.lr:'interval(1e-3,1e-2)'}", "hydra.sweeper.n_trials=2"]
    done = run("-m", *study, *own, *space)
    assert done.returncode == 0, done.stderr
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.db")] == [Path("runs.db")]
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.journal")] == [Path("own.journal")]
    assert len(runs(tmp_path, "runs.db")) == 3
