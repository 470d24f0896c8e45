"""Every setting of a sweep with every wrong type: right, or one message; never another exception."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.rnn_sweep_optuna.config import PRUNERS, SAMPLERS, SWEEPER
from rnn_sweep.errors import UserError
from rnn_sweep.run.hints import typed_as_key
from rnn_sweep.sweep.constraints import parse_constraints
from rnn_sweep.sweep.node import read_node
from rnn_sweep.sweep.samplers import build_sampler, check_pruner
from rnn_sweep.sweep.settings import Settings, check_grid, parse_settings
from rnn_sweep.sweep.space.conditions import parse_conditions
from rnn_sweep.sweep.space.grammar import parse_space
from rnn_sweep.sweep.space.suggest import Suggester
from rnn_sweep.sweep.space.validate import check_points
from tests.sweep.inprocess import InProcess

SCALARS = [True, -1, 0, 7, 1.5, float("nan"), float("inf"), 10**30, "text", "random", ""]
NESTED: list[Any] = [[], [1], ["a"], [[1]], [None], [{}], {}, {"a": 1}, {"a": None}, {"x": "a"}, {"x": {"a": 1}}]
NODES = [{"_target_": "os.getcwd"}, {"_target_": 7}, {"_target_": "nope"}, {"_target_": "optuna.samplers.Nope"}]
WRONG = [*SCALARS, *NESTED, *NODES]

TYPED = ["x=range(0,3)", "y=range(1,9)"]
SUGGESTER = Suggester(parse_space({}, TYPED, None), {}, OmegaConf.create({}))
SETTINGS = sorted(SWEEPER.keys() - {"defaults", "_target_", "_recursive_"} | {"sampler", "pruner"})


def read(given: Mapping[str, Any]) -> None:
    """All that is done with settings before the application is asked."""
    sweeper = {**{k: v for k, v in SWEEPER.items() if k in SETTINGS}, **given}
    config = OmegaConf.create({"hydra": {"sweeper": sweeper, "overrides": {"hydra": []}}})
    settings = parse_settings(read_node(config))
    space = parse_space(settings.params, TYPED, None)
    parse_conditions(settings.conditions, space)
    parse_constraints(settings.constraints)
    check_points(settings.enqueue, space)
    make(settings)


def make(settings: Settings) -> None:
    """The sampler and the pruner."""
    check_pruner(settings.pruner)
    build_sampler(settings.sampler, SUGGESTER, len(settings.directions), 0, "s")


def cases(group: str, nodes: Mapping[str, Mapping[str, Any]]) -> Iterator[Any]:
    """Each argument of each option."""
    for name, node in nodes.items():
        yield from (pytest.param(group, node, key, id=f"{name}.{key}") for key in node)


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():  # Optuna's own, of what is deprecated or experimental
        warnings.simplefilter("ignore")
        yield


def refused_or_right(call: Callable[[], None]) -> str:
    """The one message that is raised, or an empty one."""
    try:
        call()
    except UserError as error:
        message = str(error)
        assert "\n" not in message
        assert len(message) < 1200
        return message
    return ""


@pytest.mark.parametrize("key", SETTINGS)
def test_settings(key: str) -> None:
    for value in WRONG:
        message = refused_or_right(partial(read, {key: value}))
        assert not message or "hydra.sweeper." in message or value in NESTED, message


@pytest.mark.parametrize(("group", "node", "key"), [*cases("sampler", SAMPLERS), *cases("pruner", PRUNERS)])
def test_arguments_of_samplers_and_pruners(group: str, node: Mapping[str, Any], key: str) -> None:
    for value in WRONG:
        message = refused_or_right(lambda given={group: {**node, key: value}}: make(parse_settings(given)))
        assert not message or f"hydra.sweeper.{group}" in message


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("max_batch_size", [v for v in WRONG if v not in (7, 10**30) or v is True]),
        ("params", [v for v in WRONG if not isinstance(v, Mapping) and v]),
        ("report", [v for v in WRONG if not isinstance(v, bool)]),
    ],
)
def test_settings_of_a_grid(key: str, wrong: list[Any]) -> None:
    for value in wrong:
        with pytest.raises(UserError, match=rf"hydra\.sweeper\.{key} must"):
            check_grid({key: value})


def task(cfg: DictConfig) -> float:
    return 0.0


@pytest.mark.parametrize(
    ("typed", "right"),
    [
        ("hydra.sweeper.sampler=random", "hydra/sweeper/sampler=random"),
        ("hydra.sweeper.pruner=hyperband", "hydra/sweeper/pruner=hyperband"),
        ("hydra.launcher=processes", "hydra/launcher=processes"),
    ],
)
def test_a_group_typed_as_a_key(in_process: InProcess, typed: str, right: str) -> None:
    assert right in in_process.refused(task, {"x": 1}, "x=1,2", typed)
    assert right in typed_as_key(typed)
    if "launcher" not in typed:  # in a file Hydra itself refuses that, in one message
        node = {"x": 1, "defaults": ["_self_"], **OmegaConf.to_container(OmegaConf.from_dotlist([typed]))}
        assert right in in_process.refused(task, node, "x=1,2")


def test_a_launcher_typed_as_a_key_for_a_grid(in_process: InProcess) -> None:
    ended = in_process.run(task, {"x": 1}, "-m", "hydra/sweeper=grid", "hydra.launcher=processes", "x=1,2")
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert "choose one with hydra/launcher=processes" in ended.err


def test_what_is_no_group_is_hydras() -> None:
    assert "the group is hydra/sweeper=optuna" in typed_as_key("hydra.sweeper=optuna")
    for argument in (
        "hydra/sweeper=optuna",
        "hydra.sweeper={n_trials:3}",
        "hydra.sweeper.n_trials=3",
        "sweeper=optuna",
    ):
        assert typed_as_key(argument) == ""
