"""The program from Python, and the example notebook."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rnn_sweep
from rnn_sweep import compose, train, trials
from rnn_sweep.errors import UserError
from tests.conftest import ROOT, STUDY


def test_a_configuration_is_composed_as_on_the_command_line() -> None:
    config = compose("experiment=smoke", "model.hidden_dim=32")
    assert (config.model.hidden_dim, config.data.name, config.optimizer.lr) == (32, "digits", 0.01)
    assert compose().data.name == "mnist", "and again"


@pytest.mark.parametrize("override", ["modle=lstm", "model=lsmt", "model.hidden_dim=[1"])
def test_a_mistake_is_one_message(override: str) -> None:
    with pytest.raises(UserError, match=r"lsmt|modle|\[1") as error:
        compose(override)
    assert "\n" not in str(error.value)


def test_a_refused_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"model\.layers must be >= 1, got 0"):
        train("experiment=smoke", "model.layers=0")
    with pytest.raises(UserError, match="there is no study 'nothing'"):
        trials("nothing")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_trials_as_a_table(swept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(swept)
    table = trials(STUDY)
    assert list(table.index) == list(range(8))
    assert set(table["state"]) == {"complete", "pruned"}
    assert table["val/accuracy"].notna().sum() == (table["state"] == "complete").sum()
    assert table["optimizer.lr"].between(1e-6, 1e-1).all()
    assert table["run_id"].str.fullmatch("[0-9a-f]{32}").all()


def test_names_come_when_they_are_asked_for() -> None:
    assert {"compose", "train", "run_sweep", "trials"} <= set(dir(rnn_sweep))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        rnn_sweep.nothing  # noqa: B018


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    """The notebook in a real kernel, cell by cell."""
    nbformat: Any = pytest.importorskip("nbformat", reason="needs nbclient: pip install nbclient ipykernel")
    notebook = Path(shutil.copy(ROOT / "examples" / "quickstart.ipynb", tmp_path))
    execute = "from nbclient.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", execute, "--inplace", notebook.name], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    kept, found = (nbformat.read(path, 4) for path in (ROOT / "examples" / "quickstart.ipynb", notebook))
    assert [cell.source for cell in kept.cells] == [cell.source for cell in found.cells]
    for before, after in zip(kept.cells, found.cells, strict=True):
        assert {o.output_type for o in before.get("outputs", [])} == {o.output_type for o in after.get("outputs", [])}
    assert "8/8 ended" in str(found.cells)
    assert (tmp_path / "studies" / "notebook.journal").exists()


IN_A_NOTEBOOK = """
import rnn_sweep

@rnn_sweep.main(config_path=None)
def parabola(cfg, run):
    for epoch in run.epochs(2):
        run.log({"val/loss": (cfg.x - 1) ** 2 + 1 / epoch})

few = ("tracking.enabled=false", "hydra.sweeper.report=false", "hydra/launcher=basic")
table = rnn_sweep.run_sweep(parabola, "+x=choice(1,2,3)", *few, "objective=val/loss", n_trials=3)
study = rnn_sweep.Study(table.attrs["study_name"])
assert len(study.trials) == len(table) == 3
assert study.best["val/loss"] == table["val/loss"].min(), study.best
print(study.report("told"))
"""


@pytest.mark.slow
def test_a_function_of_a_notebook_is_swept_in_its_process(tmp_path: Path) -> None:
    line = [sys.executable, "-c", IN_A_NOTEBOOK]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.endswith("told/report.html\n")
    assert (tmp_path / "told" / "report.html").is_file()


@pytest.mark.slow
def test_a_function_of_a_file_is_swept_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.apps.own.train import train as own

    monkeypatch.chdir(tmp_path)
    quick = ("epochs=1", "tracking.enabled=false", "hydra.sweeper.report=false", "hydra.sweeper.study_name=s")
    table = rnn_sweep.run_sweep(own, "lr=interval(0.01,0.1)", *quick, n_trials=2)
    assert table["val/accuracy"].notna().all()
    assert rnn_sweep.Study("s").best["val/accuracy"] == table["val/accuracy"].max()
    assert "2/2 ended" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"run_sweep must get a function under rnn_sweep\.main, or overrides, got len"):
        rnn_sweep.run_sweep(len)
    with pytest.raises(UserError, match="there is no study 'nothing'"):
        rnn_sweep.Study("nothing")
