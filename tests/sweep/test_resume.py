"""Going on with a study: which settings may change, which may not, and that no folder is written by two jobs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext
from omegaconf import DictConfig

from rnn_sweep.errors import UserError
from rnn_sweep.outcome import Outcome, State
from rnn_sweep.sweep import grid, job_folders
from rnn_sweep.sweep.counts import LiveCounts
from rnn_sweep.sweep.results import ranked, winners
from tests.sweep.inprocess import Died, Ended, Values, configuration, study, sweep

NAME = "hydra.sweeper.study_name=r"
BASE = ["x=range(0,9)", NAME, "hydra.sweeper.sampler.seed=1"]


def changed(overrides: list[str]) -> list[str]:
    """The base with other values where it has the key."""
    keys = {o.partition("=")[0] for o in overrides}
    return [*(o for o in BASE if o.partition("=")[0] not in keys), *overrides]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def everything() -> dict[Path, bytes]:
    """All files and what is in them, but for locks."""
    return {p: p.read_bytes() for p in Path().rglob("*") if p.is_file() and not p.name.endswith(".lock")}


MAY = {
    "n_trials": ["hydra.sweeper.n_trials=6"],
    "n_jobs": ["hydra.sweeper.n_jobs=2"],
    "sampler": ["hydra/sweeper/sampler=random"],
    "sampler.seed": ["hydra.sweeper.sampler.seed=2"],
    "grid": ["hydra/sweeper/sampler=grid"],
    "pruner": ["hydra/sweeper/pruner=hyperband"],
    "timeout": ["hydra.sweeper.timeout=1h"],
    "retries": ["hydra.sweeper.retries.exception=1"],
    "max_failure_rate": ["hydra.sweeper.max_failure_rate=1"],
    "deterministic": ["hydra.sweeper.deterministic=true"],
    "defaults_first": ["hydra.sweeper.defaults_first=false"],
    "enqueue": ["hydra.sweeper.enqueue=[{x:7}]"],
    "range": ["x=range(2,12)"],
    "more": ["y=range(0,3)"],
    "conditions": ["y=range(0,3)", "hydra.sweeper.conditions={y:'x=range(0,5)'}"],
    "extender": [f"hydra.sweeper.custom_search_space={__name__}.more"],
    "sweep.dir": ["hydra.sweep.dir=elsewhere"],
    "sweep.subdir": ["hydra.sweep.subdir=${hydra.job.override_dirname}"],
    "fixed": ["epochs=3"],
}
MUST_NOT = {
    "direction": (["hydra.sweeper.direction=maximize"], "hydra.sweeper.direction cannot change"),
    "directions": (["hydra.sweeper.direction=[minimize,minimize]"], "hydra.sweeper.direction cannot change"),
    "replicates": (["hydra.sweeper.replicates=3"], "hydra.sweeper.replicates cannot change"),
    "constraints": (["hydra.sweeper.constraints=['cost <= 3']"], "hydra.sweeper.constraints cannot change"),
    "choices": (["x=choice(1,2,3)"], "x: the study 'r' has searched"),
    "scale": (["x=tag(log,int(interval(1,8)))"], "x: the study 'r' has searched"),
}


def more(cfg: DictConfig, trial: optuna.Trial) -> None:
    trial.suggest_int("y", 0, 3)


@pytest.mark.parametrize("change", MAY)
def test_what_may_change(change: str) -> None:
    sweep(*BASE, "hydra.sweeper.n_trials=2", "hydra.sweep.dir=first")
    result = sweep("hydra.sweeper.n_trials=5", "hydra.sweep.dir=first", *changed(MAY[change]))
    assert result.status == 0, result.err
    count = 6 if change == "n_trials" else 5
    assert [t.state.name for t in study("r").trials] == ["COMPLETE"] * count
    assert result.jobs == list(range(2, count))


@pytest.mark.parametrize("change", MUST_NOT)
def test_what_must_not_change(change: str) -> None:
    sweep(*BASE, "hydra.sweeper.n_trials=2", "hydra.sweep.dir=first")
    before = everything()
    overrides, words = MUST_NOT[change]
    result = sweep("hydra.sweeper.n_trials=5", "hydra.sweep.dir=first", *changed(overrides))
    assert result.status == 2
    assert result.err.startswith(f"error: {words}")
    assert "another study_name" in result.err
    assert everything() == before


def measured(values: Values, index: int) -> Outcome:
    """A job with a metric to constrain."""
    return Outcome(State.COMPLETE, (float(values["x"]),), metrics={"cost": 10.0 - values["x"], "size": 1.0})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], ["cost <= 5"]),
        (["cost <= 5"], []),
        (["cost <= 5"], ["cost <= 6"]),
        (["cost <= 5"], ["cost <= 5", "size <= 1"]),
    ],
)
@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_constraints_stay(before: list[str], after: list[str], sampler: str) -> None:
    line = [*BASE, f"hydra/sweeper/sampler={sampler}"]
    sweep(*line, f"hydra.sweeper.constraints={before}", "hydra.sweeper.n_trials=2", job=measured)
    kept = everything()
    result = sweep(*line, f"hydra.sweeper.constraints={after}", "hydra.sweeper.n_trials=4", job=measured)
    assert (result.status, everything()) == (2, kept)
    result = sweep(*line, f"hydra.sweeper.constraints={before[::-1]}", "hydra.sweeper.n_trials=4", job=measured)
    assert result.status in (0, 1), "1 where no trial meets them"


def test_a_constraint_may_be_typed_in_other_ways() -> None:
    sweep(*BASE, "hydra.sweeper.constraints=['size <= 1','cost<=5.0']", "hydra.sweeper.n_trials=2", job=measured)
    sweep(*BASE, "hydra.sweeper.constraints=['cost <= 5','size <= 1e0']", "hydra.sweeper.n_trials=4", job=measured)
    assert [list(t.constraints) for t in study("r").trials] == [["cost <= 5", "size <= 1"]] * 4


def named(*names: str) -> Callable[[DictConfig], float]:
    """A task that tells what it returns."""

    def task(cfg: DictConfig) -> float:
        raise AssertionError

    task.rnn_sweep_objectives = lambda cfg: names  # type: ignore[attr-defined]
    return task


def test_the_objective_stays() -> None:
    sweep(*BASE, "hydra.sweeper.n_trials=2", task=named("val/accuracy"))
    result = sweep(*BASE, "hydra.sweeper.n_trials=3", task=named("parameters"))
    assert result.status == 2
    assert "objective cannot change: the study 'r' has val/accuracy, got parameters" in result.err
    assert sweep(*BASE, "hydra.sweeper.n_trials=3", task=named("val/accuracy")).status == 0


def test_replicates_stay_and_keep_their_folders() -> None:
    line = [*BASE, "hydra.sweep.dir=multirun/r"]
    sweep(*line, "hydra.sweeper.n_trials=2", "hydra.sweeper.replicates=3")
    kept = everything()
    assert sweep(*line, "hydra.sweeper.n_trials=4").status == 2
    assert everything() == kept
    result = sweep(*line, "hydra.sweeper.n_trials=4", "hydra.sweeper.replicates=3")
    assert result.jobs == list(range(6, 12))


def test_no_value_is_not_a_good_value() -> None:
    """Trials of several programs in one study, of which some know no constraint."""
    found = optuna.create_study(direction="minimize")
    two = optuna.create_study(directions=["minimize", "minimize"])
    for value, constraints in [
        (0.0, {}),
        (1.0, {"a": -1.0}),
        (2.0, {"a": -1.0, "b": 0.0}),
        (3.0, {"a": 1.0, "b": 0.0}),
    ]:
        for each in (found, two):
            trial = each.ask()
            for name, excess in constraints.items():
                trial.set_constraint(name, excess)
            each.tell(trial, [value] * len(each.directions))
    assert [t.number for t in winners(found)] == [2]
    assert [t.number for t in winners(two)] == [2]
    assert [t.number for t in ranked(found)] == [2, 0, 1, 3]
    assert LiveCounts(found).states()["complete"] == 4
    live = LiveCounts(found)
    live.states()
    assert live.best() == (2, 2.0)


def test_nothing_to_run_is_said() -> None:
    first = sweep(*BASE, "hydra.sweeper.n_trials=3")
    assert "nothing to run" not in first.out
    note = study("r").user_attrs["sweep"]
    again = sweep(*BASE, "hydra.sweeper.n_trials=3", "epochs=7")
    assert (again.status, again.jobs) == (0, [])
    assert (
        "nothing to run: hydra.sweeper.n_trials=3 counts all trials of the study, which has 3, the last at" in again.out
    )
    assert "another hydra.sweeper.study_name" in again.out
    assert study("r").user_attrs["sweep"] == note, "the note is that of the sweep that ran"


def test_other_fixed_values_are_said() -> None:
    sweep(*BASE, "epochs=3", "z=0.1", "hydra.sweeper.n_trials=2")
    out = sweep("x=range(0,9)", "y=range(0,2)", "z=0.1", NAME, "hydra.sweeper.n_trials=3").out
    assert "epochs: the trials so far ran with 3, those from now on with the default" in out
    assert "z: the trials" not in out
    out = sweep("x=2", "y=range(0,2)", NAME, "hydra.sweeper.n_trials=4").out
    assert "x: the trials so far ran with the default, those from now on with 2" in out


def test_a_folder_of_another_study_is_refused() -> None:
    line = ["x=range(0,9)", "hydra.sweep.dir=out", "hydra.sweeper.n_trials=2"]
    sweep(*line, "hydra.sweeper.study_name=a")
    kept = everything()
    for name in ("b", "null"):
        result = sweep(*line, f"hydra.sweeper.study_name={name}")
        assert result.status == 2
        assert result.err.startswith("error: hydra.sweep.dir must be a folder without the jobs of another sweep")
        assert everything() == kept
    Path("studies").rename("elsewhere")
    assert sweep(*line, "hydra.sweeper.study_name=a").status == 2, "a new study of the same name is another study"


def test_a_folder_of_hydras_own_sweeper_is_refused() -> None:
    Path("out/3").mkdir(parents=True)
    assert sweep("x=range(0,9)", "hydra.sweep.dir=out").status == 2
    assert sorted(map(str, Path().rglob("*"))) == ["out", "out/3"]


def test_a_folder_named_by_the_clock_is_given_once() -> None:
    """In this process the clock stands still."""
    inner: list[Ended] = []
    line = ["x=range(0,9)", "hydra.sweeper.n_trials=2", "hydra.sweep.dir=out/${now:%Y}"]

    def job(values: Values, index: int) -> float:
        if not inner:
            inner.append(sweep(*line))
        return 0.0

    sweep(*line, job=job)
    sweep(*line)
    assert sorted(len([f for f in p.iterdir() if f.is_dir()]) for p in Path("out").iterdir()) == [2, 2, 2]


def test_sweepers_of_one_study_share_a_folder() -> None:
    line = [*BASE, "hydra.sweep.dir=out", "hydra.sweeper.n_trials=6"]
    inner: list[Ended] = []

    def job(values: Values, index: int) -> float:
        if index == 1:
            inner.append(sweep(*line))
        return 0.0

    outer = sweep(*line, job=job)
    assert sorted(outer.jobs + inner[0].jobs) == list(range(6))
    assert sorted(p.name for p in Path("out").iterdir() if p.is_dir()) == list("012345")


def test_folders_named_by_overrides() -> None:
    """A trial that is tried again has the same overrides as before, and so have the seeds of a trial here."""
    own = ["hydra.sweep.subdir=${hydra.job.override_dirname}", "hydra.sweep.dir=out", "hydra.sweeper.replicates=2"]
    own += ["hydra.job.config.override_dirname.exclude_keys=[seed]"]
    died: list[int] = []

    def job(values: Values, index: int) -> float:
        if not died:
            died.append(index)
            raise Died("SIGKILL(-9)")
        return 0.0

    result = sweep("x=range(0,3)", "hydra/sweeper/sampler=grid", *own, job=job)
    assert result.status == 0, result.err
    assert len(result.jobs) == len([p for p in Path("out").iterdir() if p.is_dir()]) == 8


def test_a_sweep_that_runs_nothing_leaves_its_folder_free() -> None:
    sweep(*BASE, "hydra.sweeper.n_trials=2")
    sweep(*BASE, "hydra.sweeper.n_trials=2", "hydra.sweep.dir=out")
    assert not (Path("out") / job_folders.MARK).exists()
    assert sweep("x=range(0,9)", "hydra.sweep.dir=out", "hydra.sweeper.n_trials=1").status == 0


def run_grid(*overrides: str, fail: bool = False) -> list[str]:
    """A grid's folders, made as its jobs would make them; the sweep breaks off where ``fail``."""
    typed = [o for o in overrides if not o.startswith("hydra")]
    loader, config, _ = configuration([o for o in overrides if o.startswith("hydra")])
    context = HydraContext(config_loader=loader, callbacks=Callbacks())
    with grid.recorded(named("v"), config, context, typed, BasicSweeper.split_arguments, None):
        where = Path(str(config.hydra.sweep.dir))
        for index, job in enumerate(
            BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(typed), None)[0]
        ):
            (where / str(index) / ".hydra").mkdir(parents=True)
            (where / str(index) / ".hydra" / "overrides.yaml").write_text(json.dumps(job))
            if fail:
                raise KeyboardInterrupt
    return [str(where)]


def test_a_killed_grid_is_not_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_grid("x=1,2", "hydra.sweep.dir=out", fail=True)
    kept = everything()
    with pytest.raises(SystemExit) as end:
        run_grid("x=3,4", "hydra.sweep.dir=out")
    assert end.value.code == 2
    assert (
        "error: hydra.sweep.dir must be a folder without the jobs of another sweep, or the same grid"
        in capsys.readouterr().err
    )
    assert everything() == kept
    first, second = run_grid("x=1,2", "hydra.sweep.dir=${now:%Y}"), run_grid("x=1,2", "hydra.sweep.dir=${now:%Y}")
    assert second == [f"{first[0]}-2"]


def test_jobs_of_a_grid_in_one_folder_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    own = ["hydra.sweep.subdir=${hydra.job.override_dirname}", "hydra.job.config.override_dirname.exclude_keys=[x]"]
    with pytest.raises(SystemExit):
        run_grid("x=1,2", "y=1", *own)
    assert "hydra.sweep.subdir must give each job a folder of its own, got 'y=1'" in capsys.readouterr().err
    assert not list(Path().iterdir())


def test_a_sweep_that_cannot_be_recorded_leaves_nothing() -> None:
    def task(cfg: DictConfig) -> float:
        raise AssertionError

    def refuse(cfg: DictConfig) -> None:
        raise UserError("tracking.uri must be a store")

    task.rnn_sweep_check = refuse  # type: ignore[attr-defined]
    result = sweep(*BASE, task=task)
    assert (result.status, result.err) == (2, "error: tracking.uri must be a store\n")
    assert not list(Path().iterdir())


def test_a_folder_whose_sweep_has_no_job_yet_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    """Another sweep has claimed it, and its first job is about to begin."""
    Path("out").mkdir()
    (Path("out") / job_folders.MARK).write_text("another")
    assert sweep("x=range(0,9)", "hydra.sweep.dir=out").status == 2
    with pytest.raises(SystemExit):
        run_grid("x=1,2", "hydra.sweep.dir=out")
    assert everything() == {Path("out") / job_folders.MARK: b"another"}


def test_a_mark_that_nobody_finished_is_nobodys() -> None:
    Path("out").mkdir()
    (Path("out") / job_folders.MARK).touch()
    assert sweep("x=range(0,9)", "hydra.sweep.dir=out", "hydra.sweeper.n_trials=1").jobs == [0]
