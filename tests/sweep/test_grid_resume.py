"""A grid that was killed and is given again: only what is missing runs."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rnn_sweep import files
from rnn_sweep.errors import UserError
from rnn_sweep.sweep import grid_folder
from tests import warm
from tests.conftest import SMALL, command
from tests.test_run import runs

APP = Path(__file__).parents[1] / "apps" / "held.py"


def app(folder: Path, *arguments: str, values: str = "1,2,3,4,5") -> subprocess.Popen[str]:
    line = [sys.executable, str(APP), "-m", f"x={values}", "hydra.sweep.dir=out", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return warm.Popen(line, cwd=folder, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload, no-any-return]


def killed(grid: subprocess.Popen[str], when: Callable[[], bool], *, everything: bool = False) -> str:
    """Kill a grid, or ``everything`` that it has started, at that time; returns what it had said."""
    while not when():
        assert grid.poll() is None, grid.communicate()[0]
        time.sleep(0.05)
    (os.killpg if everything else os.kill)(grid.pid, signal.SIGKILL)
    return grid.communicate(timeout=60)[0]


def trained(folder: Path) -> list[str]:
    """A line for each epoch that was begun: of which job, and which."""
    file = folder / "epochs"
    return file.read_text().split("\n")[:-1] if file.exists() else []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "held", "done"),
    [
        (["hydra/launcher=basic"], [2], [1]),
        (["hydra/launcher=threads"], [3], [1, 2]),  # one job at a time: the function has not said that threads may
        (["hydra/launcher=processes", "hydra.launcher.n_jobs=2"], [2, 4], [1, 3]),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], [2, 4], [1, 3]),
    ],
    ids=["basic", "threads", "processes", "joblib"],
)
def test_only_what_is_missing_runs(tmp_path: Path, launcher: list[str], held: list[int], done: list[int]) -> None:
    """A grid killed under each launcher: what was done stays, what was begun goes on."""
    line = [*launcher, f"held={held}"]
    expected = sorted(f"{x} {epoch}" for x in held for epoch in (1, 2))
    expected = sorted([*expected, *(f"{x} {epoch}" for x in done for epoch in (1, 2, 3))])
    reached = lambda: sorted(trained(tmp_path)) == expected and ended(tmp_path) == len(done)  # noqa: E731
    said = killed(app(tmp_path, *line), reached, everything="joblib" in launcher[0])  # whose jobs outlive their sweep
    assert "grid:    5 jobs; cut off, it goes on by the same command with hydra.sweep.dir=out" in said
    before = trained(tmp_path)
    (tmp_path / "go").touch()
    again = app(tmp_path, *line)
    said = again.communicate(timeout=240)[0]
    assert again.returncode == 0, said
    left = 5 - len(done)
    assert f"grid:    {len(done)} of 5 done, {left} to run, {len(held)} of them from a checkpoint, in out" in said
    rest = [x for x in range(1, 6) if x not in [*held, *done]]
    expected = [f"{x} {epoch}" for x in held for epoch in (2, 3)] + [f"{x} {e}" for x in rest for e in (1, 2, 3)]
    assert sorted(trained(tmp_path)[len(before) :]) == sorted(expected)
    for x in range(1, 6):
        result = json.loads((tmp_path / "out" / str(x - 1) / "result.json").read_text())
        assert (result["state"], result["values"]) == ("complete", [6 * x])
    recorded = runs(tmp_path)
    (parent,) = [r for r in recorded if "mlflow.parentRunId" not in r.data.tags]
    assert {r.data.tags["mlflow.parentRunId"] for r in recorded if r is not parent} == {parent.info.run_id}
    assert (len(recorded), {r.info.status for r in recorded}) == (6, {"FINISHED"})
    assert parent.data.metrics["trials/complete"] == 5


def ended(folder: Path) -> int:
    return len(list((folder / "out").glob("*/result.json")))


@pytest.mark.slow
def test_what_is_given_again(tmp_path: Path) -> None:
    """A grid that is done runs nothing, one with more values runs those; another one is refused."""
    (tmp_path / "go").touch()
    first = app(tmp_path, "tracking.enabled=false")
    said = first.communicate(timeout=240)[0]
    assert first.returncode == 0, said
    before = trained(tmp_path)
    refused = {
        "x=1,2": "'out/2' is of the job tracking.enabled=False x=3",
        "x=2,1,3,4,5": "'out/0' is of the job tracking.enabled=False x=1",
        "SCALE": "the job in 'out/0' had scale=1",
        "study": "hydra.sweep.dir must be a folder without the jobs of another sweep",
    }
    for other, words in refused.items():
        given = {"study": ["x=range(0,9)", "hydra/sweeper=optuna"], "SCALE": ["x=1,2,3,4,5"]}.get(other, [other])
        line = [sys.executable, str(APP), "-m", "hydra.sweep.dir=out", "tracking.enabled=false", *given]
        there = {**os.environ, "SCALE": "2" if other == "SCALE" else "1"}
        done = warm.run(line, cwd=tmp_path, env=there, capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stdout + done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    assert trained(tmp_path) == before
    assert (
        "grid:    5 of 5 done, 0 to run, in out" in app(tmp_path, "tracking.enabled=false").communicate(timeout=240)[0]
    )
    assert trained(tmp_path) == before
    more = app(tmp_path, "tracking.enabled=false", values="1,2,3,4,5,6").communicate(timeout=240)[0]
    assert "grid:    5 of 6 done, 1 to run, in out" in more
    assert trained(tmp_path)[len(before) :] == ["6 1", "6 2", "6 3"]


@pytest.mark.slow
def test_a_grid_that_runs_is_not_run_twice(tmp_path: Path) -> None:
    """Nor are its jobs, where one has outlived it."""
    line = ["tracking.enabled=false", "held=[2]", "hydra/launcher=processes", "hydra.launcher.n_jobs=1"]
    grid = app(tmp_path, *line)
    while trained(tmp_path)[-1:] != ["2 2"]:
        assert grid.poll() is None
        time.sleep(0.05)
    second = app(tmp_path, *line)
    assert (
        "error: hydra.sweep.dir must not be that of a grid that runs, got 'out'" in second.communicate(timeout=240)[0]
    )
    assert second.returncode == 2
    grid.send_signal(signal.SIGINT)
    said = grid.communicate(timeout=60)[0]
    assert grid.returncode == 130
    again = next(each for each in said.splitlines() if each.startswith("go on:")).removeprefix("go on:").strip()
    assert again.startswith("python ")
    (tmp_path / "go").touch()
    line = [sys.executable, *shlex.split(again)[1:]]
    done = warm.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "grid:    1 of 5 done, 4 to run, 1 of them from a checkpoint, in out" in done.stdout


def test_jobs_that_outlive_their_grid_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid_folder, "PATIENCE", 0.2)
    (tmp_path / "0").mkdir()
    earlier = grid_folder.Earlier(folders={("x=1",): tmp_path / "0"})
    with files.held(tmp_path / "0"), pytest.raises(UserError, match=f"{tmp_path}/0' still runs: wait for it, or end"):
        grid_folder.wait_for_ends(earlier)
    grid_folder.wait_for_ends(earlier)


@pytest.mark.slow
def test_networks_go_on_where_they_were(tmp_path: Path) -> None:
    """In threads, to the last bit of what an undisturbed run has."""
    line = ["-m", *SMALL[:3], "trainer.epochs=400", "trainer.engine=native", "seed=1,2,3", "hydra.launcher.n_jobs=2"]
    line = [*line, "hydra.sweep.dir=out", "hydra.sweeper.report=false"]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    grid = warm.Popen(command(*line), cwd=tmp_path, text=True, **output)  # type: ignore[call-overload]
    assert "result" not in killed(grid, lambda: all((tmp_path / f"out/{n}/checkpoint.pt").exists() for n in (0, 1)))
    done = warm.run(command(*line), cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "grid:    0 of 3 done, 3 to run, 2 of them from a checkpoint, in out" in done.stdout
    assert "going on after epoch" in (tmp_path / "out/0/run.log").read_text()
    alone = [*SMALL[:3], "trainer.epochs=400", "trainer.engine=native", "seed=1", "hydra.run.dir=alone", "tracking=off"]
    warm.run(command(*alone), cwd=tmp_path, capture_output=True, check=True)
    first, whole = (json.loads((tmp_path / where / "result.json").read_text()) for where in ("out/0", "alone"))
    assert [row["train/loss"] for row in first["history"]] == [row["train/loss"] for row in whole["history"]]
    assert {r.info.status for r in runs(tmp_path)} == {"FINISHED"}
