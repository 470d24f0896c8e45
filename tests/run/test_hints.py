"""What Hydra leaves unsaid about overrides."""

from __future__ import annotations

import sys

import pytest

from rnn_sweep.run.hints import extra, no_option, overlong, suggestions
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("argument", "got"),
    [
        ("model=null", "model must be the name of an option, got null; known: "),
        ("+data=1.5", "data must be the name of an option, got 1.5; known: "),
        ("optimizer@here=true", "optimizer must be the name of an option, got true"),
        ("model=rnn,null", "got rnn,null"),
        ("model=[rnn,7]", "got [rnn,7]"),
        ("hydra/launcher=null", "hydra/launcher must be the name of an option, got null"),
    ],
)
def test_a_group_takes_names(argument: str, got: str) -> None:
    assert got in no_option(argument, ROOT / "conf")


RIGHT = [
    "model=lstm",
    "model=rnn,lstm",
    "model=[rnn,lstm]",
    "model={cell: rnn}",
    "model=glob(*)",
    "model=choice(rnn,gru)",
]
OTHERS = ["seed=null", "model=", "=null", "model.cell=null", "hydra/sweeper=optuna", "model='7'", "model=(", "~model"]


@pytest.mark.parametrize("argument", [*RIGHT, *OTHERS, "hydra.run.dir=null"])
def test_the_rest_is_hydras(argument: str) -> None:
    assert no_option(argument, ROOT / "conf") == ""


def test_a_number_has_so_many_digits() -> None:
    long = "1" * (sys.get_int_max_str_digits() + 1)
    assert "seed: a whole number may have 4300 digits at most, got 111" in overlong(f"seed={long}")
    for argument in (f"seed={long[1:]}", f"name='{long}'", f"optimizer.lr={long}.5", f"seed={long}("):
        assert overlong(argument) == ""


def test_the_extra_of_a_launcher_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert extra("hydra/launcher=submitit_slurm") == ""
    monkeypatch.setitem(sys.modules, "submitit", None)  # as if it were not installed
    lines = suggestions(["-m", "hydra/launcher=submitit_slurm"], ROOT / "conf", "config")
    assert len(lines) == 1
    assert "hydra/launcher=submitit_slurm needs a package" in lines[0]
    assert "pip install 'rnn-sweep[submitit]'" in lines[0]
    assert extra("hydra/launcher=threads") == ""
