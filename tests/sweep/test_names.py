"""Names in settings that match nothing: refused with the near ones, before the first trial or by the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from omegaconf import DictConfig
from optuna.trial import TrialState

from rnn_sweep.hydra_version import BASE
from rnn_sweep.outcome import SCORES, Outcome, State, metric_names
from rnn_sweep.report.grid_figure import GridFigure
from rnn_sweep.run.hints import suggestions
from rnn_sweep.trial import Reporter
from tests.conftest import ROOT
from tests.sweep.inprocess import InProcess

NODE = {"x": 0.5, "size": 3, "trial": None}
SPACE = ["x=interval(0,1)", "size=range(1,9)"]


def task(cfg: DictConfig) -> Outcome:
    Reporter(cfg.trial).note("cost", 2.0 * cfg.size)
    return Outcome(State.COMPLETE, (cfg.x,), metrics={"parameters": float(cfg.size)})


TYPOS: list[tuple[Sequence[str], str]] = [
    (["+hydra.sweeper.n_trails=3"], "did you mean 'n_trials'"),
    (["+hydra.sweeper.retries.exeption=3"], "did you mean 'exception'"),
    (["+hydra.sweeper.conditions={siz:'x=1'}"], "did you mean 'size'"),
    (["+hydra.sweeper.conditions={size:'xx=1'}"], "did you mean 'x'"),
    (["hydra.sweeper.enqueue=[{sise:1}]"], "did you mean 'size'"),
    (["+hydra.sweeper.sampler.sed=1"], "did you mean 'seed'"),
    (["hydra.sweeper.sampler._target_=optuna.samplers.TPESampla"], "did you mean 'TPESampler'"),
    (["hydra.sweeper.sampler._target_=TPESampler"], "TPESampler"),
    (["hydra/sweeper/sampler=cmaes", "hydra.sweeper.sampler.x0={siz:2}"], "did you mean 'size'"),
    (
        ["hydra/sweeper/sampler=cmaes", "hydra.sweeper.sampler.independent_sampler={_target_:optuna.samplers.Rando}"],
        "independent_sampler",
    ),
    (
        [
            "hydra/sweeper/sampler=cmaes",
            "hydra.sweeper.sampler.independent_sampler={_target_:optuna.samplers.RandomSampler,sead:1}",
        ],
        "did you mean 'seed'",
    ),
    (["hydra/sweeper/pruner=median", "+hydra.sweeper.pruner.n_startup_trails=1"], "did you mean 'n_startup_trials'"),
    (["hydra.sweeper.pruner._target_=optuna.pruners.MedianPruna"], "did you mean 'optuna.pruners.MedianPruner'"),
    (
        ["hydra/sweeper/pruner=patient", "+hydra.sweeper.pruner.wrapped_pruner.n_startup_trails=1"],
        "hydra.sweeper.pruner.wrapped_pruner.n_startup_trails is not an argument of MedianPruner",
    ),
    (["hydra.sweeper.custom_search_space=tests.sweep.test_names.taks"], "'taks' is importable"),
    (
        ["hydra.sweeper.custom_search_space=os.system"],
        "custom_search_space=os.system cannot be used: Target 'os.system'",
    ),
    (["hydra.sweeper.custom_search_space=logging.os.remove"], "os.remove'"),
]


@pytest.mark.parametrize(("arguments", "words"), TYPOS, ids=lambda each: each[0] if isinstance(each, list) else "")
def test_before_the_first_trial(in_process: InProcess, arguments: Sequence[str], words: str) -> None:
    assert words in in_process.refused(task, NODE, *SPACE, *arguments)


def test_metrics_that_the_application_tells(in_process: InProcess) -> None:
    def telling(cfg: DictConfig) -> Outcome:
        return task(cfg)

    telling.rnn_sweep_metrics = lambda cfg: ["parameters", "seconds"]  # type: ignore[attr-defined]
    message = in_process.refused(telling, NODE, *SPACE, "hydra.sweeper.constraints=['paramters <= 5']")
    assert "no trial has 'paramters'; did you mean 'parameters'" in message


@pytest.mark.parametrize(("wrong", "right"), [("paramters", "parameters"), ("costs", "cost")])
def test_metrics_that_only_trials_show(in_process: InProcess, wrong: str, right: str) -> None:
    ended = in_process.search(
        task, NODE, *SPACE, "hydra.sweeper.n_trials=5", f"hydra.sweeper.constraints=['{wrong}<=5']"
    )
    assert ended.status == 1
    assert ended.err.strip() == (
        f"error: hydra.sweeper.constraints: '{wrong} <= 5': no trial has '{wrong}'; "
        f"did you mean '{right}'? (known: cost, parameters)"
    )
    states = [t.state for t in in_process.study().trials]
    assert states == [TrialState.FAIL, TrialState.WAITING], "to be tried again: it has no value for the right name"
    fixed = f"hydra.sweeper.constraints=['{right} <= 9']"
    assert in_process.search(task, NODE, *SPACE, "hydra.sweeper.n_trials=3", fixed).status == 0


def test_a_metric_that_one_trial_has_may_be_missing_in_others(in_process: InProcess) -> None:
    def now_and_then(cfg: DictConfig) -> Outcome:
        return Outcome(State.COMPLETE, (1.0,), metrics={"cost": 1.0} if cfg.size == 3 else {})

    constraint = "hydra.sweeper.constraints=['cost <= 5']"
    assert in_process.search(now_and_then, NODE, *SPACE, "hydra.sweeper.n_trials=4", constraint).status == 0
    best = in_process.study().trials[0]
    assert best.constraints == {"cost <= 5": -4.0}


def test_options_that_a_condition_asks_for(in_process: InProcess) -> None:
    from hydra.core.config_store import ConfigStore

    for name in ("adam", "sgd"):
        ConfigStore.instance().store(group="optimizer", name=name, node={"lr": 0.1})
    node: dict[str, Any] = {"x": 1.0, "defaults": [{"optimizer": "adam"}, "_self_"]}
    message = in_process.refused(task, node, "x=1,2", "+hydra.sweeper.conditions={x:'optimizer=sdg'}")
    assert "optimizer has no such option; did you mean 'sgd'" in message


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("hydra.sweeper.n_trails=3", "did you mean 'hydra.sweeper.n_trials'"),
        ("hydra.sweeper.sampler.sed=3", "did you mean 'hydra.sweeper.sampler.seed'"),
        ("hydra.launcher.job=3", "known: hydra.launcher."),
        ("hydra.sweep.dirr=3", "did you mean 'hydra.sweep.dir'"),
        ("modle.layers=3", "did you mean 'model.layers'"),
    ],
)
def test_hydras_own_keys_have_near_names(argument: str, words: str) -> None:
    (line,) = suggestions(["-m", "hydra/sweeper=optuna", argument], ROOT / "conf", "config")
    assert words in line


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": "data.lenth"}, "'data.lenth' is not in the configuration; did you mean 'data.length'"),
        ({"line": "trainer.epoch"}, "did you mean 'trainer.epochs'"),
        ({"metric": "test/los"}, "no run has 'test/los'; did you mean 'test/loss'"),
        ({"baseline": "naiv/loss"}, "did you mean 'naive/loss'"),
        ({}, ""),
        ({"line": "optimizer.momentum"}, ""),  # of an option that is swept
        ({"line": "model.new"}, ""),  # added on the command line
    ],
)
def test_a_figure_that_could_not_be_drawn(
    change: dict[str, str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from hydra import compose, initialize_config_dir

    lines = ["experiment=vanishing", "optimizer=adam,sgd", "+model.new=1,2"]
    with initialize_config_dir(str(ROOT / "conf"), **BASE):
        config = compose("config", lines[:1], return_hydra_config=True)
    config.hydra.overrides.task = lines
    names = {"x": "data.length", "line": "model.cell", "metric": "test/loss", "baseline": "naive/loss", **change}
    figure = GridFigure("f.png", "", **names)
    if not words:
        figure.on_multirun_start(config)
        return
    with pytest.raises(SystemExit):
        figure.on_multirun_start(config)
    assert words in capsys.readouterr().err


def test_names_of_metrics() -> None:
    assert {"val/accuracy", "val/r2", "test/loss", "parameters"} <= set(metric_names(*SCORES))
    assert "val/r2" not in metric_names("accuracy")
