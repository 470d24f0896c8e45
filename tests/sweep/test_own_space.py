"""A space of one's own needs no knowledge of the file that is in force; nor does a direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from omegaconf import DictConfig

from tests.sweep.inprocess import InProcess

FILE = {
    "params": {"cell": "choice(rnn,gru)", "act": "choice(relu,tanh)", "net.size": "range(1,9)"},
    "conditions": {"act": "cell=rnn"},
    "enqueue": [{"act": "tanh"}],
}
NODE = {
    "cell": "rnn",
    "act": "relu",
    "net": {"size": 2, "depth": 1},
    "lr": 0.1,
    "hydra": {"sweeper": FILE},
    "defaults": ["_self_", {"override hydra/sweeper": "optuna"}],
}


def task(cfg: DictConfig) -> float:
    return 0.0


def keys(in_process: InProcess, *arguments: str) -> set[str]:
    """The parameters of a dry run of the application with these overrides."""
    ended = in_process.run(task, NODE, "-m", "hydra.sweeper.dry_run=true", *arguments)
    assert ended.status == 0, ended
    rows = [line.split("│") for line in ended.out.splitlines() if line.startswith("│")]
    return {row[1].strip() + (f" if {row[3].strip()}" if row[3].strip() else "") for row in rows}


OWN: list[tuple[Sequence[str], set[str]]] = [
    ([], {"cell", "act if cell=rnn", "net.size"}),
    (["lr=interval(0,1)"], {"cell", "act if cell=rnn", "net.size", "lr"}),
    (["hydra.sweeper.params=null", "lr=interval(0,1)"], {"lr"}),
    (["~hydra.sweeper.params", "lr=interval(0,1)"], {"lr"}),
    (["hydra.sweeper.params=null", "cell=rnn,gru"], {"cell"}),
    (["hydra.sweeper.params=null", "act=relu,tanh"], {"act"}),
    (
        ["hydra.sweeper.params=null", "cell=rnn,gru", "act=relu,tanh", "hydra.sweeper.conditions={act:'cell=rnn'}"],
        {"cell", "act if cell=rnn"},
    ),
    (["hydra.sweeper.params=null", "lr=1,2", "hydra.sweeper.enqueue=[{lr:2}]"], {"lr"}),
    (["cell=gru,lstm"], {"cell", "act if cell=rnn", "net.size"}),
    (["cell=gru"], {"act if cell=rnn", "net.size"}),
    (["act=relu", "hydra.sweeper.enqueue=[]"], {"cell", "net.size"}),
    (["+hydra.sweeper.params.net.depth='choice(1,2)'"], {"cell", "act if cell=rnn", "net.size", "net.depth"}),
    (
        ["+hydra.sweeper.params.net.depth='choice(1,2)'", "+hydra.sweeper.conditions.net.depth='net.size=3'"],
        {"cell", "act if cell=rnn", "net.size", "net.depth if net.size=3"},
    ),
    (["+hydra.sweeper.params.net.depth={type:int,low:1,high:3}"], {"cell", "act if cell=rnn", "net.size", "net.depth"}),
    (["+hydra.sweeper.params.net={depth:3}"], {"cell", "act if cell=rnn", "net.size"}),
]


@pytest.mark.parametrize(("arguments", "expected"), OWN)
def test_what_is_typed_is_searched(in_process: InProcess, arguments: Sequence[str], expected: set[str]) -> None:
    """A user's own space under Hydra itself, from what is typed to the study."""
    assert keys(in_process, *arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["hydra.sweeper.params=null", "lr=1,2", "+hydra.sweeper.conditions.rl='cell=rnn'"], "did you mean 'lr'"),
        (["hydra.sweeper.conditions={act:'cell=rn'}"], "'cell=rn' is never true"),
        (["hydra.sweeper.params=null", "lr=1,2", "hydra.sweeper.enqueue=[{rl:2}]"], "did you mean 'lr'"),
    ],
)
def test_what_is_typed_wrong_is_still_refused(in_process: InProcess, arguments: Sequence[str], words: str) -> None:
    ended = in_process.run(task, NODE, "-m", "hydra.sweeper.dry_run=true", *arguments)
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert words in ended.err


def test_a_parameter_that_is_typed_keeps_its_place(in_process: InProcess) -> None:
    ended = in_process.run(task, NODE, "-m", "hydra.sweeper.dry_run=true", "cell=rnn,lstm", "lr=3", "net.size=1,2")
    assert "trial 0: lr=3 cell=rnn act=relu net.size=2\n" in ended.out


def test_interpolations_on_the_command_line_stay_as_they_are(in_process: InProcess) -> None:
    lines = ["x=1,2", "hydra.sweep.subdir=${hydra.job.override_dirname}", "+y=${x}", "hydra.sweeper.n_trials=1"]
    assert in_process.search(task, {"x": 1}, *lines).status == 0
    assert (in_process.folder / "out" / "+y=1,x=1").is_dir()


def names(*objectives: str) -> Any:
    def named(cfg: DictConfig) -> Any:
        return tuple(1.0 for _ in objectives)

    named.rnn_sweep_objectives = lambda cfg: list(objectives)  # type: ignore[attr-defined]
    return named


@pytest.mark.parametrize(
    ("objectives", "directions"),
    [
        (["val/accuracy"], ["maximize"]),
        (["val/loss"], ["minimize"]),
        (["val/accuracy", "parameters"], ["maximize", "minimize"]),
    ],
)
def test_the_direction_goes_by_the_objectives_name(
    in_process: InProcess, objectives: Sequence[str], directions: Sequence[str]
) -> None:
    ended = in_process.search(names(*objectives), {"x": 1}, "x=1,2", "hydra.sweeper.n_trials=1")
    assert ended.status == 0
    assert [d.name.lower() for d in in_process.study().directions] == directions
    assert f"searching to {directions[0]} {objectives[0]}" in ended.out
    assert "is not set" not in ended.out


def test_a_direction_that_nobody_chose_is_told(in_process: InProcess) -> None:
    ended = in_process.search(task, {"x": 1}, "x=1,2", "hydra.sweeper.n_trials=1")
    assert "hydra.sweeper.direction is not set: less is better" in ended.out
    chosen = ["hydra.sweeper.direction=minimize", "hydra.sweeper.n_trials=2"]
    assert "direction is not set" not in in_process.search(task, {"x": 1}, "x=1,2", *chosen).out


def test_there_is_a_direction_for_each_objective(in_process: InProcess) -> None:
    message = in_process.refused(names("a", "b"), {"x": 1}, "x=1,2", "hydra.sweeper.direction=maximize")
    assert "one direction for each objective (a, b)" in message
