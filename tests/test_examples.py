"""The examples do what their page says. With every launcher, killed and gone on with: tests/faults/test_examples.py."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import warm
from tests.conftest import ROOT

OWN_LOOP = ROOT / "examples" / "own_loop" / "train.py"

pytestmark = pytest.mark.slow


def run(folder: Path, script: Path, *arguments: str) -> str:
    line = [sys.executable, str(script), *arguments]
    done = warm.run(line, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def results(folder: Path) -> Sequence[dict[str, Any]]:
    found = [path for path in sorted(folder.rglob("result.json")) if "artifacts" not in path.parts]
    return [json.loads(path.read_text()) for path in found]


def test_own_loop_killed_and_resumed(tmp_path: Path) -> None:
    """``kill -9`` of the example, and the same figures as if nobody had killed it."""
    settings = ("epochs=12", "tracking.enabled=false")
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    line = [sys.executable, str(OWN_LOOP), *settings, "hydra.run.dir=killed"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with warm.Popen(line, cwd=tmp_path, env=environment, pipesize=4096, **streams) as process:
        assert process.stdout is not None
        next(text for text in process.stdout if "epoch  3/12" in text)
        process.send_signal(signal.SIGKILL)
    assert "going on after epoch" in run(tmp_path, OWN_LOOP, *settings, "hydra.run.dir=killed")
    run(tmp_path, OWN_LOOP, *settings, "hydra.run.dir=whole")
    killed, whole = results(tmp_path)
    assert killed["history"] == whole["history"]
    assert whole["values"][0] > 0.8


@pytest.mark.parametrize("example", ["lightning", "keras", "sklearn"])
def test_trainers_that_own_their_loop_are_pruned_and_recorded_in_a_sweep(tmp_path: Path, example: str) -> None:
    """Real sweeps of Lightning, Keras and scikit-learn, in which the bad trial is pruned."""
    space = {"sklearn": "alpha=choice(0.0001,1000.0)"}.get(example, "lr=choice(0.01,1e-9)")
    name, _, values = space.partition("=choice(")
    bad = values.rstrip(")").split(",")[1]
    few = ("hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1")
    few += ("hydra/sweeper/pruner=median", "hydra.sweeper.pruner.n_startup_trials=1")
    line = ("-m", "hydra/sweeper=optuna", space, f"hydra.sweeper.enqueue=[{{{name}: {bad}}}]", *few, "epochs=4")
    said = run(tmp_path, ROOT / "examples" / example / "train.py", *line, "hydra/launcher=processes")
    assert "1 pruned" in said
    assert [found["state"] for found in results(tmp_path)] == ["complete", "pruned"]

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    found = client.search_runs([client.get_experiment_by_name("train").experiment_id])
    (parent,) = [one for one in found if "sweep" in one.data.tags]
    children = [one for one in found if one.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(children) == 2
    assert len(found) == 3  # an MLFlowLogger has made none of its own


@pytest.mark.parametrize(("page", "script"), [("compare.md", "compare/lines.py"), ("bring-your-own.md", "lines.py")])
def test_counted_lines_stand_in_the_docs(page: str, script: str) -> None:
    table = warm.run([sys.executable, ROOT / "examples" / script], capture_output=True, text=True, check=True).stdout
    between = (ROOT / "docs" / page).read_text().split("<!-- lines -->\n")[1].split("<!-- end -->")[0]
    assert between.strip() == table[table.index("| ") :].strip()


def test_nobody_writes_more_than_eight_lines() -> None:
    done = warm.run([sys.executable, ROOT / "examples" / "lines.py"], capture_output=True, text=True, check=True)
    counts = [int(row.split("|")[2]) for row in done.stdout.splitlines()[2:]]
    assert len(counts) == 4
    assert max(counts) <= 8


def test_the_page_begins_with_ten_lines_of_which_eight_are_ours() -> None:
    page = (ROOT / "docs" / "bring-your-own.md").read_text()
    block = page.split("```python\n", 1)[1].split("```", 1)[0]
    assert len([text for text in block.splitlines() if text.strip()]) <= 10
    example = OWN_LOOP.read_text()
    assert len(re.findall(r"^.*\b(?:rnn_sweep|run)\b[.(].*$", example, re.MULTILINE)) <= 8


@pytest.mark.parametrize("network", ["GatedCell", "Convolutions", "Transformer"])
def test_own_models_are_trained_by_our_function(tmp_path: Path, network: str) -> None:
    settings = ["data=digits", "trainer.epochs=8", "optimizer.lr=0.01", "data.batch_size=64", "tracking=off"]
    line = [sys.executable, "-m", "rnn_sweep", "train", "model=custom", f"model._target_=networks.{network}", *settings]
    where = {"cwd": ROOT / "examples" / "own_models", "env": {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}}
    done = warm.run(
        [*line, f"hydra.run.dir={tmp_path}"], capture_output=True, text=True, timeout=240, check=False, **where
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    (found,) = results(tmp_path)
    assert found["engine"] == "torch 1 fp32 cpu"
    assert found["metrics"]["test/accuracy"] > 0.7
