"""What a person sees in a terminal: bars while something trains, whole lines around them; no bars in a pipe."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from rich.console import Console

from rnn_sweep.commands.watch import picture
from rnn_sweep.sweep.results import print_leaderboard
from rnn_sweep.sweep.status import look
from tests.terminal import screen, typed

APP = Path(__file__).parent / "apps" / "held.py"
OFF = "tracking.enabled=false"
NAMES = {"optimizer.weight_decay_of_all_layers": 1e-4, "model.nonlinearity": "tanh", "data.augmentation.rotation": 0.25}


def study() -> optuna.Study:
    """One whose parameters have long names."""
    found = optuna.create_study(study_name="a-study-with-a-long-name-of-its-own")
    kinds = {
        key: FloatDistribution(0, 1) if isinstance(value, float) else CategoricalDistribution([value])
        for key, value in NAMES.items()
    }
    for _ in range(3):
        found.add_trial(optuna.create_trial(params=dict(NAMES), distributions=kinds, value=0.5))
    return found


def shown(width: int, *, terminal: bool = True) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=terminal, _environ={"TERM": "xterm"})


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return re.sub(r"\x1b\[[\d;]*m", "", console.file.getvalue())


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_no_name_is_cut_in_two(width: int) -> None:
    board, view = shown(width), shown(width)
    print_leaderboard(study(), board)
    assert all(name in text(board) for name in NAMES), text(board)
    view.print(picture(look(study(), 5)))
    for line in text(view).splitlines():
        assert len(line) <= max(width, len("best: 0.5 (trial 0)")) or "ended" in line
        for word in line.split():
            if "=" in word:
                assert word.partition("=")[0] in [name.rpartition(".")[2] for name in NAMES], text(view)


def test_a_list_has_no_names_without_values() -> None:
    found, console = study(), shown(40)
    found.add_trial(optuna.create_trial(params={"x": 0.5}, distributions={"x": FloatDistribution(0, 1)}, value=0.25))
    print_leaderboard(found, console)
    assert [text(console).count(name) for name in NAMES] == [3, 3, 3], "the fourth trial has none of them"


def test_a_pipe_gets_the_whole_table() -> None:
    console = shown(80, terminal=False)
    print_leaderboard(study(), console)
    head = next(line for line in text(console).splitlines() if "trial" in line)
    assert all(name in head for name in NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("width", [50, 100])
def test_a_sweep_in_a_terminal(tmp_path: Path, width: int) -> None:
    """Bars while trials run in worker processes; at the end lines alone: the result, where it is, what is next."""
    sweep = ["-m", "hydra/sweeper=optuna", "x=range(1,9)", OFF, "hydra/launcher=processes", "hydra.sweeper.n_jobs=2"]
    line = [sys.executable, str(APP), *sweep, "hydra.sweeper.n_trials=3", "hydra.sweeper.study_name=s", "seconds=0.7"]
    status, written = typed(line, tmp_path, width)
    assert status == 0, written
    assert re.search(r"trial \d.*━.*[12]/3.*x=\d", written), written
    lines = screen(written, width)
    assert not [line for line in lines if ("━" in line and "trial" in line) or line.startswith("[20")], lines
    said = "".join(lines)
    order = ["trial 2 done", "Leaderboard of s", "results: ", "report:  ", "best (trial", "go on with:"]
    assert [said.index(each) for each in order] == sorted(said.index(each) for each in order)
    assert not [line for line in lines if "running" in line and "ended" in line and "trial" not in line]


@pytest.mark.slow
def test_a_grid_in_a_terminal(tmp_path: Path) -> None:
    line = [sys.executable, str(APP), "-m", "x=1,2", OFF, "seconds=0.4"]
    status, written = typed(line, tmp_path, 100)
    assert status == 0, written
    assert re.search(r"x=2 epoch [123]/3 .*━", written) or re.search(r"epoch [123]/3 .*━", written), written
    lines = screen(written, 100)
    assert len([line for line in lines if re.search(r"epoch [123]/3  sum", line)]) == 6
    assert not [line for line in lines if "━" in line and "epoch" in line]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pipe", "dumb", "NO_COLOR"])
def test_what_cannot_be_drawn_on_stays_clean(tmp_path: Path, kind: str) -> None:
    """Pipes, dumb terminals, NO_COLOR: no bar and no escape sequence of a real sweep."""
    line = [sys.executable, str(APP), "-m", "hydra/sweeper=optuna", "x=range(1,9)", OFF, "hydra.sweeper.n_trials=2"]
    if kind == "pipe":
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True, env={**os.environ})
        written = done.stdout + done.stderr
    else:
        own = {"TERM": "dumb"} if kind == "dumb" else {"NO_COLOR": "1"}
        status, written = typed(line, tmp_path, 80, **own)
        assert status == 0, written
    assert not re.search(r"\x1b\[[\d;]*m", written.replace("\x1b[1m", "").replace("\x1b[0m", "").replace("\x1b[3m", ""))
    if kind != "NO_COLOR":
        assert "\x1b" not in written
    assert "trial 1 done" in written
