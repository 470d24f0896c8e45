"""A training function of a user's own is recorded, killed, resumed, pruned and stopped as ours is."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import warm
from tests.run.conftest import OFF, SCRIPT, Own, interrupted, result

OPTUNA = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.study_name=s", "hydra.sweeper.report=false")
SPACE = "lr=tag(log,interval(1e-3,1e-1))"


def runs(folder: Path) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    found = client.get_experiment_by_name("train")
    return list(client.search_runs([found.experiment_id]))


@pytest.mark.slow
def test_a_killed_run_goes_on_in_its_folder_to_the_same_figures(own: Own, tmp_path: Path) -> None:
    """`kill -9` of a user's own loop: torch's state, the data's order and the record come back."""
    own(OFF, "hydra.run.dir=cut", "die=4", status=-signal.SIGKILL)
    assert not (tmp_path / "cut" / "result.json").exists()
    refused = own(OFF, "hydra.run.dir=cut", "die=4", "lr=0.1", status=2)
    assert refused.stderr.startswith(
        "error: hydra.run.dir must be a new folder, or that of a run with the same settings"
    )
    assert "lr=0.05" in refused.stderr
    assert "going on after epoch 3" in own(OFF, "hydra.run.dir=cut", "die=4").stdout

    own(OFF, "hydra.run.dir=whole", "die=4")  # it has died once: this one is never killed
    cut, whole = result(tmp_path / "cut"), result(tmp_path / "whole")
    assert cut["history"] == whole["history"]
    assert [row["seen"] for row in whole["history"]] == [1, 2, 3, 4, 5, 6]
    assert cut["values"] == [cut["history"][-1]["val/accuracy"]]
    assert cut["metrics"]["parameters"] == 58


@pytest.mark.slow
def test_ctrl_c_lets_the_epoch_end_and_the_run_goes_on_later(own: Own, tmp_path: Path) -> None:
    """Ctrl-C in a user's own loop, and the run that goes on."""
    settings = (OFF, "hydra.run.dir=run", "pause=0.4")
    status, said = interrupted(tmp_path, *settings, after="epoch 2/6")
    assert status == 130, said
    before = result(tmp_path / "run")
    assert before["state"] == "interrupted"
    assert f"train.py {OFF} pause=0.4 hydra.run.dir={tmp_path / 'run'}" in said
    own(*settings)
    after = result(tmp_path / "run")
    assert (after["state"], after["epochs"]) == ("complete", 6)
    assert after["history"][: before["epochs"]] == before["history"]


@pytest.mark.slow
def test_a_sweep_in_processes_retries_from_the_checkpoint_and_records_all_of_it(own: Own, tmp_path: Path) -> None:
    """A worker dies under a user's own function, and its trial goes on where it was."""
    few = (
        "hydra.sweeper.n_trials=3",
        "hydra.sweeper.sampler.seed=1",
        "hydra/launcher=processes",
    )
    said = own(*OPTUNA, SPACE, *few, "hydra.sweeper.n_jobs=1", "die=4").stdout
    assert "trial 0 will be tried again" in said
    assert "going on after epoch 3" in said

    from rnn_sweep import trials

    table = trials("s", f"journal://{tmp_path}/studies/s.journal")
    assert sorted(table.state) == ["complete", "complete", "complete", "failed"]
    assert table["val/accuracy"].notna().sum() == 3
    found = runs(tmp_path)
    (parent,) = [run for run in found if run.data.tags.get("sweep") == "s"]
    children = [run for run in found if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.info.status for run in children) == ["FINISHED"] * 3  # the retry went on in the first try's run
    assert all(run.outputs.model_outputs for run in children)
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["trials/complete"] == 3

    again = warm.run(
        [sys.executable, "-m", "rnn_sweep", "reproduce", "s", "--trial", "2"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert "22 figures of 6 epochs are bit-identical" in again.stdout


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "threads", "joblib"])
def test_pruning_with_every_launcher(own: Own, tmp_path: Path, launcher: str) -> None:
    values = "lr=choice(0.05,0.0)"  # trial 0 learns, a learning rate of 0 is pruned
    prune = (
        "hydra/sweeper/pruner=median",
        "hydra.sweeper.pruner.n_startup_trials=1",
        "hydra.sweeper.enqueue=[{lr: 0.0}]",
        "hydra.sweeper.n_trials=2",
    )
    alone = ("hydra.sweeper.n_jobs=1",)
    done = own(*OPTUNA, OFF, values, *prune, f"hydra/launcher={launcher}", *alone)
    assert "1 pruned" in done.stdout
    folders = sorted(path.parent for path in (tmp_path / "multirun").rglob("result.json"))
    assert [result(folder)["state"] for folder in folders] == ["complete", "pruned"]


@pytest.mark.slow
def test_a_grid_has_a_parent_run_and_a_report(own: Own, tmp_path: Path) -> None:
    own("-m", "lr=0.05,0.1", "epochs=2")
    found = runs(tmp_path)
    (parent,) = [run for run in found if "sweep" in run.data.tags]
    assert {run.info.run_name for run in found} - {parent.info.run_name} == {"lr=0.05", "lr=0.1"}
    assert list((tmp_path / "multirun").rglob("report.html"))


@pytest.mark.slow
def test_keys_that_are_in_the_way_can_stay_with_ours_below_a_node(own: Own, tmp_path: Path) -> None:
    refused = own("+tracking.project=mine", status=2)
    assert "tracking.project is not a setting" in refused.stderr
    assert "rnn_sweep.main(..., nested=True)" in refused.stderr
    script = SCRIPT.read_text().replace('config_name="config"', 'config_name="config", nested=True')
    (tmp_path / "nested.py").write_text(script)
    (tmp_path / "conf").mkdir()
    keys = "tracking: wandb\ntrial: 7\nrnn_sweep:\n  objective: val/accuracy\n  tracking: {enabled: false}\n"
    own_keys = (SCRIPT.parent / "conf" / "config.yaml").read_text().replace("objective: val/accuracy\n", keys)
    (tmp_path / "conf" / "config.yaml").write_text(own_keys)
    said = own(*OPTUNA, SPACE, "hydra.sweeper.n_trials=2", "hydra.sweeper.replicates=2", script=tmp_path / "nested.py")
    assert "searching to maximize val/accuracy (hydra.sweeper.direction)" in said.stdout
    found = [result(path.parent) for path in (tmp_path / "multirun").rglob("result.json")]
    assert sorted(each["overrides"][-1] for each in found) == [f"rnn_sweep.seed={n}" for n in (1, 1, 2, 2)]


@pytest.mark.slow
def test_a_block_under_a_main_of_ones_own_is_pruned_and_refused_in_one_line(own: Own, tmp_path: Path) -> None:
    block = SCRIPT.parents[1] / "block.py"
    few = (
        "hydra.sweeper.n_trials=2",
        "hydra.sweeper.n_jobs=1",
        "hydra/sweeper/pruner=median",
        "hydra.sweeper.pruner.n_startup_trials=1",
    )
    way = ("hydra.sweeper.direction=maximize", "hydra.sweeper.enqueue=[{slope: 0.5}]")
    said = own(*OPTUNA, "slope=choice(1.0,0.5)", *few, *way, script=block).stdout
    assert "1 pruned" in said
    refused = own("epochs=none", status=2, script=block)
    assert refused.stderr == "error: run.epochs: the number of epochs must be an integer of at least 1, got 'none'\n"
