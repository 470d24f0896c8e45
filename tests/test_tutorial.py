"""docs/tutorial.md: every block of it is run, in order, in a folder that has what a clone has."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests import warm
from tests.conftest import ROOT

BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHORT = {
    "experiment=vanishing": "data.length=4,8 seed=1,2 data.samples=300 trainer.epochs=1",
    "hydra.sweeper.n_trials=16": "hydra.sweeper.n_trials=4",
    "data=npz": "trainer.epochs=2",
}
"""What is added to a line that has the key, where it would take more than seconds."""


def shortened(block: str) -> str:
    # The same, also where the package is on the path but its console script is not installed.
    lines = re.sub("^rnn-sweep ", "python -m rnn_sweep ", block, flags=re.MULTILINE).splitlines()
    return "\n".join(" ".join([line, *(more for key, more in SHORT.items() if key in line)]) for line in lines)


@pytest.mark.slow
def test_every_block_runs(tmp_path: Path) -> None:
    """What a reader of the tutorial pastes works, block by block."""
    text = (ROOT / "docs" / "tutorial.md").read_text()
    blocks = BLOCK.findall(text)
    assert all(sum(key in block for _, block in blocks) == 1 for key in SHORT)
    shutil.copy(ROOT / "run.py", tmp_path)
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    env = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    for language, block in blocks:
        if block == "rnn-sweep ui\n":  # which does not end; tests/commands/test_ui.py starts and ends it
            continue
        line = ["bash", "-euo", "pipefail", "-c", shortened(block)] if language == "bash" else ["python", "-c", block]
        done = warm.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
    for left in ("multirun/*/*/vanishing.png", "outputs/*/*/gradients.png", "reports/first/report.html"):
        assert list(tmp_path.glob(left)), left


def test_its_links_lead_somewhere() -> None:
    text = (ROOT / "docs" / "tutorial.md").read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / "docs" / target).exists(), target
