"""``rnn-sweep …`` over a real sweep's records."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import optuna
import pytest
import yaml
from PIL import Image

from rnn_sweep.config import DataConfig
from rnn_sweep.data import load
from rnn_sweep.models import load_weights
from rnn_sweep.outcome import metric_names
from rnn_sweep.storage import open_storage
from tests import warm
from tests.commands.conftest import Command
from tests.conftest import STUDY, command

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def study(swept: Path) -> optuna.Study:
    storage = open_storage(f"journal://{swept}/studies/{STUDY}.journal")
    return optuna.load_study(study_name=STUDY, storage=storage)


@pytest.fixture
def best(study: optuna.Study) -> str:
    run_id: str = study.best_trial.user_attrs["run_id"]
    return run_id


def test_help_needs_no_heavy_import() -> None:
    env = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    done = warm.run([sys.executable, "-m", "rnn_sweep", "--help"], env=env, capture_output=True, text=True)
    assert done.returncode == 0
    for name in ("leaderboard", "report", "show", "reproduce", "resume", "export", "predict", "sync", "doctor"):
        assert name in done.stdout
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if "|" in line}
    assert not imported & {"torch", "mlflow", "optuna", "hydra", "matplotlib", "plotly", "pandas"}


def test_the_shell_completes_study_names(swept: Path) -> None:
    env = {
        **os.environ,
        "_RNN_SWEEP_COMPLETE": "complete_bash",
        "COMP_WORDS": "rnn-sweep leaderboard s",
        "COMP_CWORD": "2",
    }
    done = warm.run([sys.executable, "-m", "rnn_sweep"], env=env, cwd=swept, capture_output=True, text=True)
    assert done.stdout.split() == [STUDY], done.stderr


def test_the_leaderboard(swept: Path, rnn_sweep: Command, study: optuna.Study) -> None:
    shown = rnn_sweep(swept, "leaderboard", STUDY, "--top", "2")
    assert shown.status == 0
    rows = [line.split("│")[1:3] for line in shown.out.splitlines() if line.startswith("│")]
    assert len(rows) == 2
    assert int(rows[0][0]) == study.best_trial.number
    assert f"{study.best_value:.6g}" in rows[0][1]
    table = rnn_sweep(swept, "leaderboard", STUDY, "--csv").out.splitlines()
    assert len(table) == 1 + 8
    assert "params_optimizer.lr" in table[0]


def test_a_leaderboard_without_a_complete_trial(tmp_path: Path, rnn_sweep: Command) -> None:
    storage = open_storage(f"journal://{tmp_path}/studies/new.journal")
    study = optuna.create_study(study_name="new", storage=storage)
    assert "it is empty" in rnn_sweep(tmp_path, "leaderboard", "new").out
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    study.ask()
    answer = rnn_sweep(tmp_path, "leaderboard", "new")
    assert answer.status == 0
    assert "no complete trial: 1 failed, 1 running" in answer.out
    refused = rnn_sweep(tmp_path, "resume", "new")
    assert refused.status == 2
    assert "records no command" in refused.err
    assert "has no complete trial yet" in rnn_sweep(tmp_path, "reproduce", "new").err


def test_a_run_is_shown_by_the_beginning_of_its_id(swept: Path, rnn_sweep: Command, best: str) -> None:
    shown = rnn_sweep(swept, "show", best[:7]).out
    for words in (
        best,
        "complete",
        "model.hidden_dim",
        "test/accuracy",
        "python run.py experiment=smoke",
        "models:/m-",
    ):
        assert words in shown
    assert "parent_run_id" not in shown


def test_the_best_trial_comes_out_bit_for_bit(swept: Path, rnn_sweep: Command) -> None:
    """A trial is trained again from its record alone, by the engine that trained it."""
    again = rnn_sweep(swept, "reproduce", STUDY)
    assert again.status == 0, again.err
    words = " ".join(again.out.split())
    assert re.search(r"bit-identical on (native|torch) \d+ fp32", words)


@pytest.mark.parametrize("engine", ["native 0 fp32", "torch 0 fp32 cpu"])
def test_another_engine_than_the_recorded_one_is_refused(
    copied: Path, swept: Path, rnn_sweep: Command, best: str, engine: str
) -> None:
    shutil.copy(swept / "mlflow.db", copied / "mlflow.db")
    with closing(sqlite3.connect(copied / "mlflow.db")) as database:
        database.execute("UPDATE tags SET value = ? WHERE key = 'engine' AND run_uuid = ?", [engine, best])
        database.commit()
    again = rnn_sweep(copied, "reproduce", best)
    assert again.status == 2
    assert f"the run was trained by the engine '{engine}'" in again.err


def test_a_pruned_trial_is_compared_as_far_as_it_got(swept: Path, rnn_sweep: Command, study: optuna.Study) -> None:
    pruned = next(t for t in study.trials if t.state is optuna.trial.TrialState.PRUNED)
    again = rnn_sweep(swept, "reproduce", STUDY, "--trial", str(pruned.number))
    assert again.status == 0, again.err
    assert f"of {len(pruned.intermediate_values)} epochs, and the weights, are bit-identical" in " ".join(
        again.out.split()
    )


def test_a_figure_that_was_changed_is_found(copied: Path, swept: Path, rnn_sweep: Command, best: str) -> None:
    shutil.copy(swept / "mlflow.db", copied / "mlflow.db")
    with closing(sqlite3.connect(copied / "mlflow.db")) as database:
        database.execute(
            "UPDATE metrics SET value = value + 0.25 WHERE key = 'val/loss' AND step = 2 AND run_uuid = ?", [best]
        )
        database.commit()
    again = rnn_sweep(copied, "reproduce", best)
    assert again.status == 1
    assert "DO NOT match" in again.out
    assert "val/loss" in again.out
    assert "0.25" in again.out


def test_a_file_of_data_that_has_changed_since_is_named(tmp_path: Path, rnn_sweep: Command) -> None:
    x = np.random.RandomState(0).normal(size=(40, 5, 3))
    np.savez(tmp_path / "own.npz", X=x, y=np.arange(40) % 2)
    line = ["data=npz", "data.file=own.npz", "data.batch_size=8", "data.val_size=0.2", "model.hidden_dim=4"]
    done = warm.run(command(*line, "trainer.epochs=1", "hydra.run.dir=out"), cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr
    run_id = json.loads((tmp_path / "out" / "result.json").read_text())["run_id"]
    assert "bit-identical" in rnn_sweep(tmp_path, "reproduce", run_id).out
    np.savez(tmp_path / "own.npz", X=-x, y=np.arange(40) % 2)
    again = rnn_sweep(tmp_path, "reproduce", run_id)
    assert again.status == 1
    assert "data.sha256 was " in again.out


def test_resume_goes_on_with_the_same_study(copied: Path, rnn_sweep: Command) -> None:
    """A recorded command is run again, by the command that a user types."""
    done = rnn_sweep(copied, "resume", STUDY, "hydra.sweeper.n_trials=9", "hydra.sweeper.report=false", "tracking=off")
    assert done.status == 0, done.err
    storage = open_storage(f"journal://{copied}/studies/{STUDY}.journal")
    trials = optuna.load_study(study_name=STUDY, storage=storage).trials
    assert len(trials) == 9
    assert trials[-1].params.keys() == trials[0].params.keys()


def test_export(swept: Path, rnn_sweep: Command, best: str, tmp_path: Path) -> None:
    done = rnn_sweep(swept, "export", best, str(tmp_path / "new" / "model"))
    assert done.status == 0, done.err
    files = sorted(path.name for path in (tmp_path / "new" / "model").iterdir())
    assert files == ["README.md", "config.yaml", "weights.safetensors"]
    assert sorted(Path(line).name for line in done.out.splitlines()) == files
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model"]
    load_weights(tmp_path / "new" / "model" / "weights.safetensors")
    card = (tmp_path / "new" / "model" / "README.md").read_text()
    _, front, text = card.split("---\n", 2)
    assert yaml.safe_load(front)["datasets"] == ["digits"]
    for words in ("python run.py experiment=smoke", best, "test accuracy", "16 rnn units (relu)"):
        assert words in text
    again = rnn_sweep(swept, "export", best, str(tmp_path / "new" / "model"))
    assert again.status == 2
    assert "DIR must be a new or empty folder" in again.err


def test_predict(swept: Path, rnn_sweep: Command, best: str, tmp_path: Path) -> None:
    data = load(DataConfig(name="digits", val_size=0.2))
    images, labels = data.x_test[:200].numpy(), data.y_test[:200].numpy()
    np.savez(tmp_path / "many.npz", images=images)
    np.savez(tmp_path / "floats.npz", anything=(images * data.scale).astype(np.float64))
    Image.fromarray(images[0] * 15).resize((64, 64), Image.Resampling.NEAREST).save(tmp_path / "one.png")
    Image.fromarray(255 - images[0] * 15).save(tmp_path / "dark.png")
    done = rnn_sweep(swept, "predict", best, str(tmp_path / "many.npz"))
    assert done.status == 0, done.err
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert [row[0] for row in rows[:2]] == [f"{tmp_path}/many.npz[0]", f"{tmp_path}/many.npz[1]"]
    found = np.array([int(row[1]) for row in rows])
    assert (found == labels).mean() == pytest.approx(accuracy(swept, best), abs=0.08)
    floats = rnn_sweep(swept, "predict", best, str(tmp_path / "floats.npz")).out
    assert [line.split("\t")[1:] for line in floats.splitlines()] == [row[1:] for row in rows]
    one = rnn_sweep(swept, "predict", best, str(tmp_path / "one.png")).out.split("\t")
    assert one[:2] == [str(tmp_path / "one.png"), rows[0][1]]
    dark = rnn_sweep(swept, "predict", best, "--invert", str(tmp_path / "dark.png")).out.split("\t")
    assert dark[1] == rows[0][1]


def accuracy(folder: Path, run_id: str) -> float:
    (path,) = (p for p in folder.glob("multirun/*/*/*/result.json") if json.loads(p.read_text())["run_id"] == run_id)
    value: float = json.loads(path.read_text())["metrics"]["test/accuracy"]
    return value


def test_doctor(swept: Path, rnn_sweep: Command, tmp_path: Path) -> None:
    well = rnn_sweep(swept, "doctor")
    assert well.status == 0
    for words in ("torch", "sqlite:///mlflow.db answers", "rnn-sweep ui", f"the latest {STUDY}", "data digits"):
        assert words in well.out
    fresh = rnn_sweep(tmp_path, "doctor")
    assert fresh.status == 0
    assert "the first run creates it" in fresh.out
    assert not list(tmp_path.iterdir())
    (tmp_path / "mlflow.db").write_text("no database")
    ill = rnn_sweep(tmp_path, "doctor")
    assert ill.status == 1
    assert "NO  tracking store" in ill.out


MISTAKES = [
    (["leaderboard", "smal"], ["smal", "did you mean 'small'"]),
    (["leaderboard", "small", "--storage", "journal:///nowhere/s.journal"], ["--storage", "/nowhere/s.journal"]),
    (["leaderboard", "other", "--storage", "journal://studies/small.journal"], ["'other'", "known: small"]),
    (["leaderboard", "small", "--top", "0"], ["--top"]),
    (["show", "zzzz"], ["zzzz", "known: "]),
    (["show", "%"], ["'%'", "known: "]),
    (["show", ""], ["begins with ''", "known: "]),
    (["show", "a", "--tracking-uri", "sqlite:///nowhere.db"], ["nowhere.db", "no database"]),
    (["reproduce", "smal"], ["smal", "did you mean 'small'"]),
    (["reproduce", "small", "--trial", "99"], ["--trial", "0 to 7", "99"]),
    (["predict", "{best}", "nothing.png"], ["FILE", "nothing.png"]),
    (["predict", "{best}", "mlflow.db"], ["FILE", "mlflow.db", "not an image"]),
    (["predict", "{best}", "wrong.npz"], ["wrong.npz", "[N, 8, 8]", "[2, 28, 28]"]),
    (["predict", "{best}", "big.npz"], ["big.npz", "[0, 1]", "7.0"]),
    (["export", "{parent}", "out"], ["is a sweep"]),
]


def test_a_report_of_a_study_by_its_name(swept: Path, rnn_sweep: Command, tmp_path: Path) -> None:
    done = rnn_sweep(swept, "report", STUDY, "--output", str(tmp_path / "r"))
    assert done.status == 0, done.err
    assert sorted(done.out.split()) == sorted(str(path) for path in (tmp_path / "r").iterdir())
    assert "run.py -m hydra/sweeper=optuna experiment=smoke" in (tmp_path / "r" / "report.html").read_text()
    (tmp_path / "file").touch()
    assert "--output" in rnn_sweep(swept, "report", STUDY, "--output", str(tmp_path / "file")).err


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=[" ".join(m[0]) for m in MISTAKES])
def test_a_mistake_is_one_message(
    swept: Path, rnn_sweep: Command, study: optuna.Study, arguments: list[str], words: list[str], tmp_path: Path
) -> None:
    """Each command's mistakes; the first has the time of the sweep that all of the file looks at."""
    named = {"best": study.best_trial.user_attrs["run_id"], "parent": study.user_attrs["parent_run_id"]}
    np.savez(tmp_path / "wrong.npz", images=np.zeros((2, 28, 28), np.uint8))
    np.savez(tmp_path / "big.npz", images=np.full((1, 8, 8), 7.0))
    typed = [str(tmp_path / a) if a.endswith(".npz") else a.format(**named) for a in arguments]
    before = sorted(swept.rglob("*"))
    answer = rnn_sweep(swept, *typed)
    assert answer.status == 2
    for word in words:
        assert word in answer.err
    assert sorted(swept.rglob("*")) == before


def test_constraints_may_speak_of_all_that_a_run_has(swept: Path) -> None:
    results = [json.loads(path.read_text())["metrics"] for path in swept.rglob("result.json")]
    assert {name for metrics in results for name in metrics} <= set(metric_names("accuracy"))
