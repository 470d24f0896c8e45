from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from rnn_sweep.config import Config, parse, to_tree
from rnn_sweep.errors import UserError
from rnn_sweep.hydra_version import BASE
from tests.conftest import ROOT

CONF = ROOT / "conf"
GROUPS = ("model", "optimizer", "scheduler", "data", "trainer", "tracking", "experiment")


def composed(*overrides: str) -> Config:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), **BASE):
        return parse(compose("config", list(overrides)))


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.mark.parametrize("override", [f"{g}={o}" for g in GROUPS for o in options(g)])
def test_every_option_of_every_group_composes_and_parses(override: str) -> None:
    config = composed(override)
    assert parse(to_tree(config)) == config


def test_all_groups_are_covered() -> None:
    folders = {p.name for p in CONF.iterdir() if p.is_dir()} - {"hydra"}
    assert folders == set(GROUPS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "optimizer", "scheduler"),
    list(itertools.product(options("model"), options("optimizer"), options("scheduler"))),
)
def test_groups_combine_freely(model: str, optimizer: str, scheduler: str) -> None:
    """Every option of the groups beside every other: none may need what another takes away."""
    config = composed(f"model={model}", f"optimizer={optimizer}", f"scheduler={scheduler}")
    cell = {"elman": "rnn", "irnn": "rnn"}.get(model, model)
    assert (config.model.cell, config.scheduler.name) == (cell, scheduler)


def test_defaults_are_the_documented_ones() -> None:
    config = composed()
    assert (config.model.cell, config.model.hidden_dim, config.model.nonlinearity) == ("rnn", 128, "relu")
    assert (config.model.init, config.optimizer.target, config.optimizer.lr) == (
        "identity",
        "torch.optim.Adam",
        1e-3,
    )
    assert (config.scheduler.name, config.trainer.clip_norm, config.trainer.epochs) == ("onecycle", 1.0, 10)
    assert (config.data.batch_size, config.data.val_size) == (64, 5000)


def test_tutorial_is_the_classic_run() -> None:
    config = composed("experiment=tutorial")
    assert (config.model.cell, config.model.nonlinearity, config.model.init) == ("rnn", "relu", "default")
    assert (config.optimizer.target, config.optimizer.lr) == ("torch.optim.RMSprop", 0.003)
    assert (config.trainer.epochs, config.data.batch_size, config.scheduler.name) == (30, 64, "none")


# What is wrong, and the words that the message must hold: the key, and the value received.
MISTAKES = [
    (["model.hidden_dim=0"], ["model.hidden_dim", ">= 1", "0"]),
    (["model.hidden_dim=12.5"], ["model.hidden_dim", "integer", "12.5"]),
    (["model.hidden_dim=true"], ["model.hidden_dim", "integer", "True"]),
    (["model.hidden_dim=null"], ["model.hidden_dim", "integer", "None"]),
    (["model.hidden_dim=99999999999999999999999"], ["model.hidden_dim", "<= 1000000"]),
    (["model.layers=1001"], ["model.layers", "<= 1000"]),
    (["scheduler.name=[step]"], ["scheduler.name", "step"]),
    (["trainer.timeout=-1"], ["trainer.timeout", "> 0", "-1"]),
    (["model.layers=-1"], ["model.layers", ">= 1", "-1"]),
    (["model.nonlinearity=foo"], ["model.nonlinearity", "relu, tanh", "foo"]),
    (["model.nonlinearity=null"], ["model.nonlinearity", "relu, tanh"]),
    (["model.cell=lsmt"], ["model.cell", "lsmt", "did you mean 'lstm'"]),
    (["model=lstm", "model.nonlinearity=relu"], ["model.nonlinearity", "null", "relu"]),
    (["model=gru", "model.init=identity"], ["model.init", "identity", "gru"]),
    (["model.init=chrono"], ["model.init", "chrono", "lstm and gru", "rnn"]),
    (["model.init=xavier"], ["model.init", "xavier", "orthogonal"]),
    (["model.dropout=1.0"], ["model.dropout", "[0, 1)", "1.0"]),
    (["model.dropout=nan"], ["model.dropout", "nan"]),
    (["+model.hiden_dim=3"], ["model.hiden_dim", "did you mean 'hidden_dim'"]),
    (["optimizer.lr=-0.1"], ["optimizer.lr", "> 0", "-0.1"]),
    (["optimizer.lr=inf"], ["optimizer.lr", "finite", "inf"]),
    (["optimizer.lr=fast"], ["optimizer.lr", "number", "fast"]),
    (["optimizer.weight_decay=-1"], ["optimizer.weight_decay", ">= 0", "-1"]),
    (["optimizer._target_=os.system"], ["optimizer._target_", "torch.optim", "os.system"]),
    (["scheduler.name=linear"], ["scheduler.name", "linear", "onecycle"]),
    (["scheduler.pct_start=2"], ["scheduler.pct_start", "(0, 1)", "2"]),
    (["scheduler=step", "scheduler.step_size=0"], ["scheduler.step_size", ">= 1", "0"]),
    (["scheduler=step", "+scheduler.gama=0.1"], ["scheduler.gama", "did you mean 'gamma'"]),
    (["data.batch_size=0"], ["data.batch_size", ">= 1", "0"]),
    (["data.val_size=0"], ["data.val_size", "0"]),
    (["data.val_size=10.5"], ["data.val_size", "10.5"]),
    (["data.limit=0"], ["data.limit", ">= 1", "0"]),
    (["trainer.epochs=0"], ["trainer.epochs", ">= 1", "0"]),
    (["trainer.device=tpu"], ["trainer.device", "tpu", "cuda"]),
    (["trainer.threads=0"], ["trainer.threads", ">= 1", "0"]),
    (["trainer.clip_norm=0"], ["trainer.clip_norm", "> 0", "0"]),
    (["trainer.patience=0"], ["trainer.patience", ">= 1", "0"]),
    (["trainer.precision=fp8"], ["trainer.precision", "fp8", "bf16"]),
    (["tracking.uri=''"], ["tracking.uri", "empty"]),
    (["tracking.enabled=3"], ["tracking.enabled", "true or false", "3"]),
    (["tracking.tags=abc"], ["tracking.tags", "mapping"]),
    (["seed=-1"], ["seed", "-1"]),
    (["seed=1.5"], ["seed", "integer", "1.5"]),
    (["objective=test/accuracy"], ["objective", "test/accuracy", "val/accuracy"]),
    (["objective=val/r2"], ["objective", "data.task=classification", "val/r2", "val/accuracy"]),
    (["data.task=regression", "objective=val/accuracy"], ["data.task=regression", "val/accuracy", "val/r2"]),
    (["data.task=cluster"], ["data.task", "classification, regression", "cluster"]),
    (["+data.lengths=[1,2]"], ["data.lengths", "one value", "[1, 2]"]),
    (["objective=[]"], ["objective", "at least one"]),
    (["trial=3"], ["trial", "3"]),
    (["trial={number: 1}"], ["trial is set by the sweeper", "{'number': 1}"]),
    (["trial={number: a, study_name: b, storage: c}"], ["trial is set by the sweeper", "'a'"]),
]


@pytest.mark.parametrize(("overrides", "words"), MISTAKES, ids=[" ".join(m[0]) for m in MISTAKES])
def test_a_mistake_is_named(overrides: list[str], words: list[str]) -> None:
    """Each rule of the configuration, with key, rule and value."""
    with pytest.raises(UserError) as caught:
        composed(*overrides)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("tree", [{}, {"model": 3}, {"nonsense": 1}, {"model": None}])
def test_a_tree_that_is_no_configuration_is_refused(tree: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        parse(tree)


def test_settings_of_the_data_set_itself_are_kept_for_it() -> None:
    config = composed("+data.length=50", "data.pool=2")
    assert config.data.options == (("form", "rows"), ("length", 50), ("pool", 2))
    assert to_tree(config)["data"]["length"] == 50
    assert hash(config.data) == hash(parse(to_tree(config)).data)


def test_the_task_says_what_a_sweep_optimises_by_default() -> None:
    assert composed().objective == ("val/accuracy",)
    assert composed("data.task=regression").objective == ("val/r2",)
    assert composed("data.task=regression", "objective=[val/loss,seconds]").objective == ("val/loss", "seconds")


def test_options_of_the_optimizer_are_kept_for_its_class() -> None:
    config = composed("optimizer=sgd", "+optimizer.dampening=0.1")
    assert config.optimizer.options["dampening"] == 0.1


def test_no_layer_below_the_task_is_imported_by_the_configuration(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import rnn_sweep.config, sys; print([m for m in ('torch', 'mlflow', 'optuna') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
