"""Whole sweeps of small applications, in processes of their own."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.trial import TrialState

from tests import warm
from tests.sweep.conftest import APPS, Sweeps

pytestmark = pytest.mark.slow  # real processes

SPHERE = "sphere/app.py"
X = "x=interval(-5,5)"


def results(sweeps: Sweeps, folder: str = "out") -> dict[str, Any]:
    """The results file."""
    content: dict[str, Any] = yaml.safe_load((sweeps.folder / folder / "optimization_results.yaml").read_text())
    return content


def test_a_sweep_and_what_it_leaves(sweeps: Sweeps) -> None:
    out, _ = sweeps.run(SPHERE, X, "y=range(-2,3)", "z=3", "hydra.sweeper.n_trials=6")
    name = re.findall(r"study_name=(\S+)", out)[-1]
    assert name.startswith("app-")
    study = sweeps.study(name)
    assert [t.number for t in study.trials] == list(range(6))
    assert all(t.state is TrialState.COMPLETE for t in study.trials)
    assert study.trials[0].params == {"x": 1.0, "y": 1}, "trial 0 is the application's own defaults"
    found = results(sweeps)
    best = study.best_trial
    assert found["name"] == "optuna"
    assert found["best_params"] == best.params
    assert found["best_value"] == best.value
    assert found["trial"] == best.number
    assert "6/6 ended" in out
    for number in range(6):
        job = sweeps.folder / "out" / str(number) / ".hydra"
        overrides = yaml.safe_load((job / "overrides.yaml").read_text())
        assert f"x={study.trials[number].params['x']}" in overrides
        assert yaml.safe_load((job / "config.yaml").read_text())["trial"]["number"] == number
        assert yaml.safe_load((job / "hydra.yaml").read_text())["hydra"]["job"]["num"] == number


def test_the_best_command_runs_the_best_trial_again(sweeps: Sweeps) -> None:
    out, _ = sweeps.run("fate.py", "x=interval(-5,5)", "hydra.sweeper.n_trials=4", "hydra.sweep.dir=out")
    line = re.findall(r"best \(trial \d+\):\n\s+(\S.*)", out)[0]
    assert line.startswith("python ")
    assert "hydra" not in line.partition(".py")[2]
    command = [sys.executable, *shlex.split(line)[1:], "hydra.run.dir=once"]
    warm.run(command, cwd=sweeps.folder, check=True, env={**os.environ, "PYTHONPATH": str(APPS.parents[1])})
    config = yaml.safe_load((sweeps.folder / "once" / ".hydra" / "config.yaml").read_text())
    assert config["x"] == results(sweeps)["best_params"]["x"]
    assert config["trial"] is None


def test_resuming_counts_all_trials_of_the_study(sweeps: Sweeps) -> None:
    args = [SPHERE, X, "hydra.sweeper.study_name=s", "hydra.sweeper.sampler.seed=1"]
    sweeps.run(*args, "hydra.sweeper.n_trials=3")
    sweeps.run(*args, "hydra.sweeper.n_trials=5")
    out, _ = sweeps.run(*args, "hydra.sweeper.n_trials=5")
    assert "trial 5 " not in out
    values = [t.params["x"] for t in sweeps.study("s").trials]
    assert len(values) == 5
    assert len(set(values)) == 5, "a seeded sampler does not repeat its first points"


def test_conditions(sweeps: Sweeps) -> None:
    config = sweeps.folder / "conf"
    (config / "hydra" / "sweeper" / "space").mkdir(parents=True)
    (config / "hydra" / "sweeper" / "space" / "mine.yaml").write_text(
        "# @package hydra.sweeper\n"
        "params:\n  optimizer: choice(adam,sgd)\n  optimizer.momentum: interval(0,0.9)\n"
        "conditions:\n  optimizer.momentum: optimizer=sgd\n"
    )
    sweeps.run(
        SPHERE, f"hydra.searchpath=[file://{config}]", "hydra/sweeper/space=mine",
        "hydra.sweeper.study_name=c", "hydra.sweeper.n_trials=14", "hydra.sweeper.sampler.seed=1",
    )  # fmt: skip
    trials = sweeps.study("c").trials
    assert {t.params["optimizer"] for t in trials} == {"adam", "sgd"}
    for trial in trials:
        assert ("optimizer.momentum" in trial.params) == (trial.params["optimizer"] == "sgd")
        job = yaml.safe_load((sweeps.folder / "out" / str(trial.number) / ".hydra" / "config.yaml").read_text())
        assert job["optimizer"]["name"] == trial.params["optimizer"]


def test_points_of_the_user_come_first(sweeps: Sweeps) -> None:
    sweeps.run(
        SPHERE, X, "y=interval(0,2)", "hydra.sweeper.enqueue=[{x:0.5,y:0.25},{x:2}]",
        "hydra.sweeper.n_trials=4", "hydra.sweeper.study_name=e",
    )  # fmt: skip
    trials = sweeps.study("e").trials
    assert trials[0].params == {"x": 1.0, "y": 1.0}
    assert trials[1].params == {"x": 0.5, "y": 0.25}
    assert trials[2].params["x"] == 2.0


def test_a_default_outside_of_the_space_is_named(sweeps: Sweeps) -> None:
    out, _ = sweeps.run(
        SPHERE,
        "x=interval(2,5)",
        "optimizer=choice(sgd)",
        "hydra.sweeper.n_trials=1",
        "hydra.sweeper.study_name=d",
    )
    assert "x: the default 1.0 is outside of the space; 2.0 is the nearest" in out
    assert "optimizer: the default 'adam' is not in the space" in out
    assert sweeps.study("d").trials[0].params == {"x": 2.0, "optimizer": "sgd"}


def test_additions_deletions_and_groups(sweeps: Sweeps) -> None:
    sweeps.run(
        SPHERE, "+w=choice(1,[2,3])", "~z", "optimizer=adam,sgd", "++v=null,'a b'",
        "hydra.sweeper.n_trials=6", "hydra.sweeper.study_name=g",
    )  # fmt: skip
    for number in range(6):
        config = yaml.safe_load((sweeps.folder / "out" / str(number) / ".hydra" / "config.yaml").read_text())
        assert config["w"] in (1, [2, 3])
        assert config["v"] in (None, "a b")
        assert "z" not in config


def test_several_objectives(sweeps: Sweeps) -> None:
    out, _ = sweeps.run(
        "fate.py", "x=interval(0,1)", "fate=pair", "hydra.sweeper.direction=[minimize,minimize]",
        "hydra.sweeper.n_trials=5", "hydra.sweep.dir=out", "hydra.sweeper.study_name=m",
    )  # fmt: skip
    solutions = results(sweeps)["solutions"]
    assert len(solutions) == 5, "every point of this line is on the front"
    assert solutions[0]["values"] == [solutions[0]["params"]["x"], -solutions[0]["params"]["x"]]
    assert "Pareto front" in out


def test_constraints(sweeps: Sweeps) -> None:
    sweeps.run(
        "curve.py", "slope=interval(0,1)", "hydra.sweeper.direction=maximize", "hydra.sweeper.n_trials=8",
        "hydra.sweeper.constraints=['slope <= 0.5','steps_done >= 3']", "hydra.sweeper.study_name=c",
        "hydra.sweep.dir=out", "hydra.sweeper.sampler.seed=2",
    )  # fmt: skip
    study = sweeps.study("c")
    feasible = [t for t in study.trials if t.params["slope"] <= 0.5]
    assert results(sweeps)["best_value"] == max(t.value for t in feasible if t.value is not None)
    assert len(feasible) < 8
    assert set(study.trials[0].constraints) == {"slope <= 0.5", "steps_done >= 3"}


@pytest.mark.parametrize(
    ("pruner", "arguments"),
    [
        ("median", ["n_startup_trials=1"]),
        ("percentile", ["n_startup_trials=1", "percentile=50"]),
        ("successive_halving", ["min_resource=1", "reduction_factor=2"]),
        ("hyperband", ["min_resource=1", "max_resource=10", "reduction_factor=2"]),
        ("patient", ["patience=0", "wrapped_pruner.n_startup_trials=1"]),
        ("threshold", ["lower=0.5"]),
        ("none", []),
    ],
)
def test_pruning(sweeps: Sweeps, pruner: str, arguments: list[str]) -> None:
    """Each pruner stops real jobs, through the study's storage."""
    sweeps.run(
        "curve.py", "slope=choice(1,0.1,0.2,0.3,0.4,0.5,0.6,0.7)", "hydra/sweeper/sampler=random",
        "hydra.sweeper.sampler.seed=1", "hydra.sweeper.direction=maximize", "hydra.sweeper.n_trials=10",
        "hydra.sweeper.study_name=p", f"hydra/sweeper/pruner={pruner}", "hydra.sweep.dir=out",
        *[f"hydra.sweeper.pruner.{a}" for a in arguments],
    )  # fmt: skip
    trials = sweeps.study("p").trials
    pruned = [t for t in trials if t.state is TrialState.PRUNED]
    assert trials[0].state is TrialState.COMPLETE
    assert trials[0].user_attrs["run_id"] == "run-1"
    assert trials[0].user_attrs["steps_done"] == 10
    assert results(sweeps)["run_id"] == "run-1"
    assert bool(pruned) == (pruner not in ("none", "patient")), "every curve here rises all the time"
    for trial in pruned:
        assert 0 < len(trial.intermediate_values) <= 10
        assert trial.user_attrs["run_id"] == f"run-{trial.params['slope']}"


def test_diverged_trials_teach_the_sampler(sweeps: Sweeps) -> None:
    sweeps.run(
        "curve.py", "slope=interval(0,1)", "diverge=choice(true,false)", "hydra.sweeper.n_trials=8",
        "hydra.sweeper.study_name=d", "hydra.sweeper.sampler.seed=1",
    )  # fmt: skip
    states = {t.params["diverge"]: t for t in sweeps.study("d").trials}
    assert states[True].state is TrialState.PRUNED
    assert states[True].user_attrs["cause"] == "diverged at step 2"
    assert len(states[True].intermediate_values) == 3
    assert states[False].state is TrialState.COMPLETE


@pytest.mark.parametrize(
    ("fate", "cause"), [("raise", "RuntimeError: so it was written"), ("no_number", "NaN"), ("text", "much")]
)
def test_one_failure_does_not_end_the_sweep(sweeps: Sweeps, fate: str, cause: str) -> None:
    sweeps.run(
        "fate.py", "x=interval(0,1)", f"fate={fate}", "once=true", "hydra.sweeper.n_trials=4",
        "hydra.sweeper.study_name=f",
    )  # fmt: skip
    trials = sweeps.study("f").trials
    assert [t.state.name for t in trials] == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert cause in trials[0].user_attrs["cause"]


def test_a_failure_is_tried_again_if_so_wished(sweeps: Sweeps) -> None:
    sweeps.run(
        "fate.py", "x=interval(0,1)", "fate=raise", "once=true", "hydra.sweeper.n_trials=3",
        "hydra.sweeper.study_name=f", "hydra.sweeper.retries.exception=1",
        "hydra.sweeper.defaults_first=false",
    )  # fmt: skip
    trials = sweeps.study("f").trials
    assert [t.state.name for t in trials] == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert trials[1].params == trials[0].params
    assert trials[1].user_attrs["retry_of"] == 0


def test_too_many_failures_end_it(sweeps: Sweeps) -> None:
    _, err = sweeps.run(SPHERE, X, "fail=true", "hydra.sweeper.n_trials=30", "hydra.sweeper.study_name=f", status=1)
    assert "RuntimeError: cfg.fail is true" in err
    assert "max_failure_rate" in err
    assert len(sweeps.study("f").trials) == 6, "more than half of ten"
    sweeps.run(
        SPHERE, X, "fail=true", "hydra.sweeper.n_trials=12", "hydra.sweeper.study_name=g", "hydra.sweep.dir=g",
        "hydra.sweeper.max_failure_rate=1", status=1,
    )  # fmt: skip
    assert len(sweeps.study("g").trials) == 12


def test_timeout(sweeps: Sweeps) -> None:
    out, _ = sweeps.run(
        SPHERE,
        X,
        "seconds=0.3",
        "hydra.sweeper.timeout=2s",
        "hydra.sweeper.n_trials=100",
        "hydra.sweeper.study_name=t",
    )
    assert "the time is up" in out
    trials = sweeps.study("t").trials
    assert 1 <= len(trials) < 20
    assert all(t.state is TrialState.COMPLETE for t in trials)


def test_dry_run_makes_nothing(sweeps: Sweeps) -> None:
    before = sweeps.files()
    out, _ = sweeps.run(SPHERE, X, "layers=range(1,4)", "z=5", "hydra.sweeper.dry_run=true")
    assert sweeps.files() == before
    assert "trial 0: z=5 x=1.0 layers=1" in out
    assert "trial 4: " in out
    assert "a float from -5.0 to 5.0" in out
    assert "fixed: z=5" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["xx=interval(0,1)"], ["xx is not in the configuration", "did you mean 'x'"]),
        (["optimizer.lrr=interval(0,1)"], ["did you mean 'optimizer.lr'"]),
        (["optimizer=choice(adam,adma)"], ["optimizer=adma", "Available options"]),
        (["optimizer=choice(adam,sgd)", "optimizer.momentum=interval(0,1)"], ["optimizer.momentum"]),
        (["x=interval(1,0)"], ["lower end"]),
        (["x=tag(log,interval(0,1))"], ["above 0"]),
        (["x=choice(1,1)"], ["twice"]),
        (["x=glob(a*)"], ["nothing to choose from"]),
        ([X, "x=1,2"], ["given twice"]),
        ([], ["nothing to search"]),
        ([X, "hydra.sweeper.direction=maximise"], ["did you mean 'maximize'"]),
        ([X, "hydra.sweeper.study_name=a/b"], ["study_name"]),
        ([X, "hydra.sweeper.n_trials=0"], ["at least 1"]),
        ([X, "hydra.sweeper.storage=optuna.db"], ["URL"]),
        ([X, "hydra.sweeper.storage=nosuch://me:secret@host/db", "hydra.sweeper.study_name=a"], ["nosuch://me@host/db"]),
        ([X, "hydra/sweeper/sampler=grid"], ["can be counted"]),
        ([X, "+hydra.sweeper.sampler.n_candidates=3"], ["n_candidates"]),
        ([X, "hydra.sweeper.sampler._target_=optuna.samplers.TPE"], ["TPESampler"]),
        ([X, "hydra/sweeper/pruner=threshold"], ["ThresholdPruner"]),
        ([X, "hydra.sweeper.enqueue=[{x:9}]"], ["enqueue[0].x", "got 9"]),
        ([X, "hydra.sweeper.conditions={y:'x=1'}"], ["'y' is not searched"]),
        ([X, "+hydra.sweeper.conditions.x='nosuch=1'"], ["nosuch is not in the configuration"]),
        ([X, "hydra.sweeper.custom_search_space=nosuch.function"], ["custom_search_space=nosuch.function"]),
        ([X, "hydra.sweeper.constraints=['x < 1']"], ["must look like"]),
    ],
)  # fmt: skip
def test_mistakes_cost_nothing(sweeps: Sweeps, arguments: list[str], words: list[str]) -> None:
    """Each mistake through the real command: one message, and nothing left behind."""
    message = sweeps.refused(SPHERE, *arguments)
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert "secret" not in message
    for word in words:
        assert word in message


def test_an_unknown_setting_is_refused_by_hydra(sweeps: Sweeps) -> None:
    assert "n_trial" in sweeps.refused(SPHERE, X, "hydra.sweeper.n_trial=3", status=1)


def test_a_study_that_does_not_fit(sweeps: Sweeps) -> None:
    sweeps.run(SPHERE, X, "hydra.sweeper.study_name=s", "hydra.sweeper.n_trials=1")
    name = "hydra.sweeper.study_name=s"
    assert "direction cannot change: the study 's' has minimize, got maximize" in sweeps.refused(
        SPHERE, X, name, "hydra.sweeper.direction=maximize"
    )
    assert "has searched a float from -5.0 to 5.0" in sweeps.refused(SPHERE, "x=1,2", name)
    assert len(sweeps.study("s").trials) == 1


def test_sqlite_by_url(sweeps: Sweeps) -> None:
    args = [
        SPHERE,
        X,
        "hydra.sweeper.storage=sqlite:///a.db",
        "hydra.sweeper.study_name=s",
        "hydra.sweeper.n_trials=2",
    ]
    sweeps.run(*args)
    assert len(sweeps.study("s", f"sqlite:///{sweeps.folder}/a.db").trials) == 2
    assert not (sweeps.folder / "studies").exists()


def test_config_is_found_in_an_application_of_its_own(sweeps: Sweeps, tmp_path: Path) -> None:
    """An application outside of this project, which knows nothing of ``trial``."""
    (tmp_path / "own.py").write_text(
        "import hydra\nfrom hydra.core.config_store import ConfigStore\n"
        "ConfigStore.instance().store(name='c', node={'x': 1})\n"
        "from rnn_sweep.hydra_version import BASE\n"
        "@hydra.main(config_path=None, config_name='c', **BASE)\n"
        "def f(cfg):\n    assert list(cfg) == ['x']\n    return cfg.x\n"
        "f()\n"
    )
    sweeps.run(str(tmp_path / "own.py"), "x=interval(0,1)", "hydra.sweeper.n_trials=2", "hydra.sweeper.study_name=o")
    assert len(sweeps.study("o").trials) == 2


def test_the_next_try_in_a_folder_named_by_overrides_has_its_own(sweeps: Sweeps) -> None:
    sweeps.run(
        "fate.py", "x=choice(0.5)", "fate=raise", "once=true", "hydra.sweep.subdir=${hydra.job.override_dirname}",
        "hydra.sweeper.n_trials=1", "hydra.sweeper.retries.exception=1", "hydra.sweeper.study_name=f",
        "hydra.sweeper.max_failure_rate=1", "hydra.sweep.dir=out",
    )  # fmt: skip
    folders = sorted(path for path in (sweeps.folder / "out").iterdir() if path.is_dir())
    configs = [yaml.safe_load((folder / ".hydra" / "config.yaml").read_text()) for folder in folders]
    assert [config["trial"]["number"] for config in configs] == [0, 1]
    assert folders[1].name == f"{folders[0].name}-1"
