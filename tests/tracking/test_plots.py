from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rnn_sweep.tracking.plots import save_curves
from rnn_sweep.training.plots import save_gradients


@pytest.mark.slow
def test_runs_that_end_at_once_draw_the_pictures_that_they_draw_alone(tmp_path: Path) -> None:
    """Matplotlib's layout of text, a logarithmic axis's above all, is not thread-safe."""

    def draw(number: int, folder: Path) -> tuple[bytes, bytes]:
        folder.mkdir()
        source, curves = folder / "gradients.json", folder / "curves.png"
        source.write_text(json.dumps({"epoch": 1, "norms": [10.0 ** -(number + t) for t in range(8)]}))
        history = [{"train/loss": 1 / (number + e), "val/loss": 1.0, "val/accuracy": 0.5} for e in range(1, 4)]
        save_curves(curves, history, {"test/loss": 0.1}, f"run {number}")
        return save_gradients(source).read_bytes(), curves.read_bytes()

    with ThreadPoolExecutor(8) as pool:  # first: matplotlib keeps what it has laid out once
        together = list(pool.map(lambda number: draw(number, tmp_path / f"together{number}"), range(16)))
    assert together == [draw(number, tmp_path / f"alone{number}") for number in range(16)]
