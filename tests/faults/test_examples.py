"""Every example with every launcher: its sweep is killed (``kill -9``) in the midst of a trial, and started again."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState

from tests import warm
from tests.conftest import ROOT
from tests.faults.conftest import Record, long_only
from tests.faults.harness import Campaign, kill
from tests.integration import services

EXAMPLES = ROOT / "examples"
EPOCHS, HELD = 4, 2
"""Epochs of a trial, and the last one of which the killed try leaves a checkpoint."""


class Example(NamedTuple):
    """An example, made small."""

    program: Path
    short: str
    """The launcher that it is tried with in the short form, too."""
    settings: Sequence[str]
    objective: str = "val/accuracy"


SMALL = (f"epochs={EPOCHS}", "batch_size=700", "lr=0.01")
OURS = ("model=custom", "model._target_=networks.GatedCell", "+model.hidden=4", "data=digits", "data.limit=100")
TABLE = {
    "own_loop": Example(EXAMPLES / "own_loop/train.py", "ray", (*SMALL, "model.hidden=4")),
    "lightning": Example(EXAMPLES / "lightning/train.py", "joblib", (*SMALL, "model.hidden=4")),
    "keras": Example(EXAMPLES / "keras/train.py", "threads", (*SMALL, "hidden=4"), "val_accuracy"),
    "sklearn": Example(EXAMPLES / "sklearn/train.py", "basic", (f"epochs={EPOCHS}", "alpha=0.01")),
    "own_models": Example(
        ROOT / "run.py",
        "processes",
        (*OURS, "hydra/sweeper/space=none", f"trainer.epochs={EPOCHS}", "optimizer.lr=0.01"),
    ),
}
LAUNCHERS = ("basic", "threads", "processes", "joblib", "ray")
CELLS = [
    pytest.param(name, launcher, marks=() if launcher == TABLE[name].short else long_only, id=f"{name}-{launcher}")
    for launcher in LAUNCHERS
    for name in TABLE
]

HOLDS = f"""
import os, sys, time
saved = 0

def hold(event, arguments):
    global saved
    if event == "os.rename" and str(arguments[1]).endswith("/1/checkpoint.pt"):
        saved += 1
        folder = os.path.dirname(os.path.dirname(str(arguments[1])))
        if saved == {HELD} + 2 and not os.path.exists(folder + "/held"):
            with open(folder + "/holds", "w") as file:
                file.write(str(os.getpid()))
            os.rename(folder + "/holds", folder + "/held")
            end = time.monotonic() + 200
            while not os.path.exists(folder + "/go") and time.monotonic() < end:
                time.sleep(0.02)

sys.addaudithook(hold)
"""
"""What each Python runs first: that of the second trial stops before the checkpoint of its third epoch is in place.

The first checkpoint is that of no epoch."""


@pytest.fixture(scope="module", autouse=True)
def holding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have every process that is started, of Ray too, begin with :data:`HOLDS`, and torch use one thread."""
    folder = tmp_path_factory.mktemp("holds")
    (folder / "sitecustomize.py").write_text(HOLDS)
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(EXAMPLES / "own_models")]))
    patch.setenv("OMP_NUM_THREADS", "1")
    yield
    patch.undo()


@pytest.fixture(scope="module")
def cluster(holding: None) -> Iterator[services.Ray]:
    """Ray on one node with two CPUs."""
    with services.ray() as cluster:
        cluster.node(cpus=2)
        yield cluster


@pytest.mark.parametrize(("example", "launcher"), CELLS)
def test_a_killed_sweep_goes_on(
    campaign: Campaign, record: Record, request: pytest.FixtureRequest, example: str, launcher: str
) -> None:
    """Everybody's own kind of training, killed with its sweep and gone on with, under each launcher."""
    program, _, settings, objective = TABLE[example]
    campaign.app, env = program, {}
    n_jobs = 2 if launcher == "joblib" else 1  # joblib's one job would be in the sweeper's own process
    line = [*settings, f"hydra/launcher={launcher}", f"hydra.sweeper.n_jobs={n_jobs}"]
    line += ["hydra.sweeper.n_trials=2", "hydra.sweep.dir=out", "tracking.run_name=choice(one,two)"]
    if launcher == "ray":
        cluster: services.Ray = request.getfixturevalue("cluster")
        line, env = [*line, f"hydra.launcher.address={cluster.address}"], cluster.env
    said = killed_and_resumed(campaign, line, env)
    assert f"going on after epoch {HELD}" in said

    trials = campaign.trials()
    assert Counter(trial.state for trial in trials) == {TrialState.COMPLETE: 2, TrialState.FAIL: 1}
    assert [trial.user_attrs.get("retry_of") for trial in trials] == [None, None, 1]
    whole, again = (result(Path(trial.user_attrs["folder"])) for trial in (trials[0], trials[2]))
    assert figures(again) == figures(whole), "what is searched decides nothing, and one trial was not disturbed"
    check_records(campaign, objective, [whole["run_id"], again["run_id"]])
    record(f"`kill -9` of a sweep of examples/{example}, launcher {launcher}")


def killed_and_resumed(campaign: Campaign, line: Sequence[str], env: Mapping[str, str]) -> str:
    """Kill a sweep in the midst of its second trial, start it again, and let what is left of the first one go on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warm, "COLD", True)  # a forked process does not run HOLDS
        first, out = campaign.start(*line, **env), campaign.folder / "out"

    def midst(trials: list[FrozenTrial]) -> bool:
        return (out / "held").exists() and trials[0].state is TrialState.COMPLETE

    def over() -> bool:
        return not psutil.pid_exists(pid) or "was given up by its sweep" in (out / "1" / log.name).read_text()

    assert campaign.wait_for(first, midst), campaign.output(first)
    pid, log = int((out / "held").read_text()), next((out / "0").glob("*.log"))
    workers = psutil.Process(first.pid).children(recursive=True)
    kill(first)
    said = campaign.finish(campaign.start(*line, **env))
    (out / "go").touch()
    services.wait_until("the end of the killed try", over)
    for worker in workers:  # joblib's wait for five minutes
        with suppress(psutil.NoSuchProcess):
            worker.kill()
    return said + "".join(path.read_text() for path in out.rglob("*.log"))


def result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def figures(result: Mapping[str, Any]) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "images_per_second"} for row in result["history"]]


def check_records(campaign: Campaign, objective: str, expected: list[str]) -> None:
    """One parent, one run for each trial, of which each epoch is there once; all are finished."""
    client, found = campaign.client(), campaign.runs()
    children = [run for run in found if "mlflow.parentRunId" in run.data.tags]
    assert sorted(run.info.run_id for run in children) == sorted(expected)
    assert len(found) == 3
    assert {run.info.status for run in found} == {"FINISHED"}
    assert {run.data.tags["state"] for run in children} == {"complete"}
    for run_id in expected:
        steps = [point.step for point in client.get_metric_history(run_id, objective)]
        assert sorted(steps) == list(range(1, EPOCHS + 1))
