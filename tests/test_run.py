"""``python run.py …`` as a user types it: what it prints, leaves behind, and refuses."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from rnn_sweep.files import CHECKPOINT_FILE
from tests.conftest import Leashed, Run
from tests.faults.forge import forge

SMOKE = "experiment=smoke"


def result(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("outputs/*/*/result.json")
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def runs(folder: Path, store: str = "mlflow.db") -> list[Any]:
    """All runs of the folder's MLflow store, newest first."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/{store}")
    return list(client.search_runs([e.experiment_id for e in client.search_experiments()]))


def untouched(folder: Path) -> bool:
    """Whether a refused run left neither outputs nor an MLflow run behind."""
    return not (folder / "outputs").exists() and (not (folder / "mlflow.db").exists() or not runs(folder))


@pytest.mark.slow
def test_a_run_trains_records_and_says_where(run: Run, tmp_path: Path) -> None:
    """The first command of the README, and all that it leaves."""
    done = run(SMOKE, "model.hidden_dim=40", "seed=3", "trainer.gradients=5")
    assert done.returncode == 0, done.stderr
    found = result(tmp_path)
    assert found["state"] == "complete"
    assert found["epochs"] == 5
    assert found["overrides"] == [SMOKE, "model.hidden_dim=40", "seed=3", "trainer.gradients=5"]
    assert found["seconds"] > 0
    assert found["images_per_second"] > 0
    assert found["metrics"]["test/accuracy"] > 0.85
    for words in ("epoch 5/5", "test accuracy", "outputs/", "rnn-sweep ui"):
        assert words in done.stdout
    assert "\r" not in done.stdout + done.stderr  # no bar where there is no terminal
    (recorded,) = runs(tmp_path)
    assert recorded.info.run_id == found["run_id"]
    assert recorded.info.status == "FINISHED"
    assert recorded.data.params["model.hidden_dim"] == "40"
    assert recorded.data.metrics["test_accuracy"] == found["metrics"]["test/accuracy"]
    (data,) = recorded.inputs.dataset_inputs
    sizes = json.loads(data.dataset.profile)
    assert (data.dataset.name, sizes["train"] + sizes["val"] + sizes["test"]) == ("digits", 1797)
    (model,) = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").search_logged_models([recorded.info.experiment_id])
    linked = {metric.key: metric for metric in model.metrics}
    assert {"train/loss", "val/accuracy", "test_accuracy"} <= linked.keys()
    assert {metric.dataset_digest for metric in linked.values()} == {data.dataset.digest}
    assert linked["val/accuracy"].value == found["metrics"]["val/accuracy"]
    files = {file.name for file in (tmp_path / "mlruns").glob(f"*/{recorded.info.run_id}/artifacts/*")}
    assert {"gradients.json", "gradients.png"} <= files, files


@pytest.mark.slow
def test_tracking_can_be_turned_off(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").unlink()
    done = run(SMOKE, "tracking=off")
    assert done.returncode == 0, done.stderr
    assert result(tmp_path)["run_id"] is None
    assert not list(tmp_path.glob("ml*"))


MISTAKES = [
    (["model.hidden_dim=0"], ["model.hidden_dim", ">= 1", "0"]),
    (["model.layers=-1"], ["model.layers", ">= 1", "-1"]),
    (["model.nonlinearity=foo"], ["model.nonlinearity", "relu", "foo"]),
    (["optimizer.lr=-0.1"], ["optimizer.lr", "> 0", "-0.1"]),
    (["data.batch_size=100000"], ["data.batch_size", "100000"]),
    (["data.val_size=100000"], ["data.val_size", "100000"]),
    (["data.name=mnits"], ["data.name", "mnits", "mnist"]),
    (["data.lenght=3", "data=copy"], ["data.lenght", "did you mean 'data.length'"]),
    (["data.file=nowhere.npz", "data=npz"], ["data.file", "nowhere.npz"]),
    (["trainer.device=cuda:9"], ["trainer.device", "cuda:9"]),
    (["optimizer._target_=torch.optim.Adamm"], ["optimizer._target_", "Adamm", "Adam"]),
    (["tracking.uri=sqlite:////proc/nowhere/mlflow.db"], ["tracking.uri", "/proc/nowhere"]),
    (["tracking.uri=http://127.0.0.1:9"], ["tracking.uri", "127.0.0.1:9"]),
    (["model.hiden_dim=3"], ["model.hiden_dim", "did you mean 'model.hidden_dim'"]),
    (["modle=lstm"], ["modle", "did you mean 'model'"]),
    (["model=lsmt"], ["lsmt", "lstm"]),
    (["experiment=nope"], ["nope", "smoke", "tutorial"]),
    (["trainer.resume=nowhere"], ["trainer.resume", "nowhere"]),
]


@pytest.mark.slow
def test_a_mistake_ends_before_any_work(tmp_path: Path) -> None:
    """Eighteen mistakes through the real command: one line each, and nothing left behind."""
    own = ("experiment", "trainer.resume")
    answers = forge([[*([] if row[0].startswith(own) else [SMOKE]), *row] for row, _ in MISTAKES], tmp_path)
    for (arguments, words), answer in zip(MISTAKES, answers, strict=True):
        assert answer.status not in (0, None), arguments
        assert "Traceback" not in answer.text
        for word in words:
            assert word in answer.text, arguments
        left = {path.name for path in answer.folder.iterdir()}
        late = "tracking.uri" in arguments[0] or "data." in arguments[0]  # known only once the run's folder is there
        assert not left - ({"outputs"} if late else set()), arguments


def outputs(folder: Path) -> Path:
    (path,) = folder.glob("outputs/*/*")
    return path


LONG = [SMOKE, "trainer.epochs=80", "scheduler=cosine", "model.hidden_dim=8", "data.limit=300", "trainer.threads=1"]


@pytest.mark.slow
def test_a_killed_run_goes_on_in_the_same_mlflow_run_and_ends_alike(run: Run, tmp_path: Path) -> None:
    """`kill -9` of a real run: every figure is that of a run that nobody killed."""
    whole = tmp_path / "whole"
    whole.mkdir()
    Leashed(whole, *LONG).rest()
    started = Leashed(tmp_path, *LONG)
    started.wait_for("epoch +7/")
    started.process.kill()
    started.rest()
    folder = outputs(tmp_path)
    assert not (folder / "result.json").exists()
    done = run(f"trainer.resume={folder.relative_to(tmp_path)}")
    assert done.returncode == 0, done.stderr
    expected, found = result(whole), json.loads((folder / "result.json").read_text())
    timed = {"seconds", "images_per_second"}
    assert {k: v for k, v in found["metrics"].items() if k not in timed} == {
        k: v for k, v in expected["metrics"].items() if k not in timed
    }
    assert found["epochs"] == 80
    assert found["overrides"] == LONG
    (recorded,) = runs(tmp_path)
    assert recorded.info.run_id == found["run_id"]
    assert recorded.info.status == "FINISHED"
    from mlflow.tracking import MlflowClient

    points = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").get_metric_history(found["run_id"], "val/loss")
    assert sorted(point.step for point in points) == list(range(1, 81))
    again = run(f"trainer.resume={folder}")
    assert again.returncode == 2
    assert "has ended" in again.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_the_epoch_end_and_says_how_to_go_on(
    run: Run, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    """Signals to a real process, its status, and the run that goes on from there."""
    started = Leashed(tmp_path, *LONG)
    started.wait_for("epoch +2/")
    started.process.send_signal(number)
    rest = started.rest()
    assert started.process.returncode == status, rest
    assert "trainer.resume=" in rest
    assert "Traceback" not in rest
    found = result(tmp_path)
    assert found["state"] == "interrupted"
    assert runs(tmp_path)[0].info.status == "KILLED"
    folder = outputs(tmp_path)
    done = run(f"trainer.resume={folder}")
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "result.json").read_text())["state"] == "complete"
    assert runs(tmp_path)[0].info.status == "FINISHED"


@pytest.mark.slow
def test_two_signals_end_it_at_once(tmp_path: Path) -> None:
    """A second Ctrl-C, amid an epoch that takes seconds."""
    started = Leashed(tmp_path, "trainer.threads=1")  # an epoch takes seconds
    started.wait_for("epoch +1/")
    started.process.send_signal(signal.SIGINT)
    started.wait_for("stopping after this epoch")
    started.process.send_signal(signal.SIGINT)
    rest = started.rest()
    assert started.process.returncode == 130, rest
    assert "Traceback" not in rest
    assert runs(tmp_path)[0].info.status == "KILLED"


@pytest.mark.slow
def test_resume_takes_no_other_settings(run: Run, tmp_path: Path) -> None:
    done = run("trainer.resume=somewhere", "model.hidden_dim=3")
    assert done.returncode == 2
    assert "model.hidden_dim=3" in done.stderr


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named_and_left_alone(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "checkpoint.pt").write_bytes(b"damaged")
    done = run("trainer.resume=broken")
    assert done.returncode == 2
    assert "checkpoint.pt is damaged" in done.stderr
    assert (folder / "checkpoint.pt").read_bytes() == b"damaged"


@pytest.mark.slow
def test_help_lists_the_groups_without_importing_torch(run: Run) -> None:
    done = run("--help", env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.returncode == 0
    assert "experiment" in done.stdout
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if "|" in line}
    assert not imported & {"torch", "torchvision", "mlflow", "optuna", "matplotlib"}


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_to_is_refused(run: Run) -> None:
    done = run(SMOKE, "tracking.uri=sqlite:////sys/mlflow.db")  # there not even root may write
    assert done.returncode == 2
    assert "tracking.uri" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_with_an_earlier_run_is_not_overwritten(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / CHECKPOINT_FILE).touch()
    done = run("experiment=smoke", "hydra.run.dir=out")
    assert done.returncode == 2
    assert done.stderr.startswith("error: hydra.run.dir must be a folder without an earlier run")
    assert "trainer.resume=out goes on with it" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == [CHECKPOINT_FILE]
