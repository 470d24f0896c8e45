"""Every preset of ``conf/experiment`` is composed and trained, as small as it goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rnn_sweep import train
from rnn_sweep.outcome import State
from tests.conftest import ROOT, Run

pytestmark = pytest.mark.slow

PRESETS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))
SWEEPS = [name for name in PRESETS if name.startswith("sweep_")]
TINY = ["trainer.epochs=1", "data.limit=64", "data.batch_size=32", "model.hidden_dim=8"]
TINY += ["trainer.gradients=1", "model.bidirectional=false"]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_trains(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every preset is run once, on little data."""
    monkeypatch.chdir(tmp_path)
    outcome = train(f"experiment={name}", *TINY, "tracking=off")
    assert outcome.state is State.COMPLETE
    assert outcome.values
    (seen,) = tmp_path.glob("outputs/*/*/gradients.json")
    assert all(json.loads(seen.read_text())["norms"])


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweeps_preset_says_what_it_searches(name: str, run: Run) -> None:
    done = run("-m", f"experiment={name}", "hydra.sweeper.dry_run=true")
    assert done.returncode == 0, done.stderr
    assert "optimizer.lr" in done.stdout
    header = (ROOT / "conf" / "experiment" / f"{name}.yaml").read_text()
    assert f"python run.py -m experiment={name}" in header
