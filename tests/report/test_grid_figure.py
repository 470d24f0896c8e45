"""The figure that a preset may end a grid with."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest
from PIL import Image

from rnn_sweep.report.grid_figure import GridFigure, runs
from tests.conftest import Run
from tests.test_run import runs as recorded

KEYS = {"x": "model.hidden_dim", "line": "model.cell", "metric": "test/loss"}
FIGURE = {"_target_": "rnn_sweep.report.grid_figure.GridFigure", "file": "sizes.png", "title": "Sizes", **KEYS}


@pytest.mark.slow
def test_a_grid_ends_with_its_figure(run: Run, tmp_path: Path) -> None:
    callback = ",".join(f"{key}:{value}" for key, value in FIGURE.items())
    done = run(
        *("-m", "experiment=smoke", "trainer.epochs=1", "trainer.gradients=1", "hydra.sweep.dir=grid"),
        *("model=elman,gru", "model.hidden_dim=4,8", "seed=1,2", f"+hydra.callbacks.figure={{{callback}}}"),
    )
    assert done.returncode == 0, done.stderr
    assert "figure: grid/sizes.png" in done.stdout
    found = runs(tmp_path / "grid")
    assert [len(each.gradients or []) for each in found] == [8] * 8
    lines = GridFigure("f.png", "", **KEYS).points(found)
    results = [json.loads((tmp_path / "grid" / str(n) / "result.json").read_text()) for n in range(8)]
    values = [result["metrics"]["test/loss"] for result in results if "model=gru" in result["overrides"]][:2]
    point = lines["gru"][0]
    assert (point.x, point.count) == (4, 2)
    assert (point.mean, point.sd) == (pytest.approx(statistics.fmean(values)), pytest.approx(statistics.stdev(values)))
    assert [p.x for p in lines["rnn"]] == [4, 8]
    with Image.open(tmp_path / "grid" / "sizes.png") as picture:
        assert picture.width > 1000  # two panels: the runs have measured their gradients
    (parent,) = [each for each in recorded(tmp_path) if "mlflow.parentRunId" not in each.data.tags]
    (kept,) = (tmp_path / "mlruns").glob(f"*/{parent.info.run_id}/artifacts/pictures/sizes.png")
    assert kept.read_bytes() == (tmp_path / "grid" / "sizes.png").read_bytes()
