"""``benchmarks/results.py``: the page comes from the records alone, and a record from a real run."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from tests import warm
from tests.conftest import ROOT


def results(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, str(ROOT / "benchmarks" / "results.py"), *arguments]
    return warm.run(line, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_committed_page_is_what_its_records_say(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs" / "results", tmp_path / "results", dirs_exist_ok=True)
    done = results("--page", "--folder", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results.md").read_text() == (ROOT / "docs" / "results.md").read_text()


@pytest.mark.slow
def test_a_row_is_trained_recorded_and_shown(tmp_path: Path) -> None:
    tiny = ["trainer.epochs=2", "data.limit=64", "model.hidden_dim=8"]
    done = results("tutorial", "--folder", str(tmp_path), "--", *tiny)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "results" / "tutorial.json").read_text())
    assert record["command"] == f"python run.py -m experiment=tutorial seed=1,2,3 {' '.join(tiny)}"
    assert [run["overrides"] for run in record["runs"]] == [
        ["experiment=tutorial", f"seed={seed}", *tiny] for seed in (1, 2, 3)
    ]
    assert {run["epochs"] for run in record["runs"]} == {2}
    values = [100 * run["metrics"]["test/accuracy"] for run in record["runs"]]
    (line,) = [line for line in (tmp_path / "results.md").read_text().splitlines() if record["command"] in line]
    assert f"**{statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f}**" in line


def test_what_would_not_be_the_declared_row_is_refused(tmp_path: Path) -> None:
    for arguments, words in [
        (["tutoral"], ["no row 'tutoral'", "tutorial"]),
        (["tutorial", "--", "trainer.epochs=1"], ["--folder"]),
    ]:
        done = results(*arguments)
        assert done.returncode == 2
        assert all(word in done.stderr for word in words)
