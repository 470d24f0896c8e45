"""What a whole sweep does not import, because each would take a second."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rnn_sweep.engines.native.library import NativeUnavailable, load
from tests.conftest import ROOT

pytestmark = pytest.mark.slow


def test_a_sweep_imports_neither_torchs_compiler_nor_scikit_learn(tmp_path: Path) -> None:
    try:
        load()
    except NativeUnavailable as reason:
        pytest.skip(f"torch's optimisers import its compiler, and {reason}")
    words = ["-m", "hydra/sweeper=optuna", "experiment=smoke", "trainer.epochs=1", "hydra.sweeper.n_trials=6"]
    line = [sys.executable, "-X", "importtime", str(ROOT / "run.py"), *words]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    imported = {row.rpartition("|")[2].strip() for row in done.stderr.splitlines()}
    assert {"torch", "mlflow", "optuna.importance"} <= imported
    assert not {"torch._dynamo", "sklearn"} & imported
