"""Every command on studies and runs that other programs have made: right, or one message."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from rnn_sweep.storage import open_storage
from tests.commands.conftest import Command

pytestmark = pytest.mark.slow  # a store of MLflow

CONFIGS = {
    "nothing": None,
    "another program's": "model: {name: resnet}\nlr: 0.1\n",
    "with our words": "model: resnet\ntrainer: 3\ndata: {}\noptimizer: null\n",
    "no mapping": "- 1\n- 2\n",
    "no YAML": "a: [1\nb: {",
    "no text": "\x00\x01",
}


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with a study and a store, and the ids of runs by what they hold."""
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("foreign")
    study = optuna.create_study(study_name="s", storage=open_storage(f"journal://{folder}/studies/s.journal"))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        client = MlflowClient("sqlite:///mlflow.db")
        experiment = client.create_experiment("theirs")
        ids = {}
        for name, text in CONFIGS.items():
            tags = {"mlflow.source.name": str(folder / "train.py"), "mlflow.runName": name}
            run = client.create_run(experiment, tags=tags)
            ids[name] = run.info.run_id
            if text is not None:
                client.log_text(run.info.run_id, text, "config.yaml")
                client.log_text(run.info.run_id, "- lr=0.1\n- trial={number:3}\n", "overrides.yaml")
            client.log_metric(run.info.run_id, "loss", 0.5)
            client.set_terminated(run.info.run_id)
    return folder, ids


@pytest.mark.parametrize("name", CONFIGS)
def test_commands_on_a_run(foreign: tuple[Path, dict[str, str]], rnn_sweep: Command, name: str) -> None:
    folder, ids = foreign
    for command, more in (("reproduce", []), ("export", ["out"]), ("predict", ["x.png"])):
        answer = rnn_sweep(folder, command, ids[name], *more)
        assert answer.status == 2
        assert answer.err.startswith("error: ")
        assert answer.err.count("\n") == 1
    shown = rnn_sweep(folder, "show", ids[name])
    assert shown.status == 0
    assert "loss" in shown.out
    assert ("python train.py lr=0.1" in shown.out) == (CONFIGS[name] is not None)
    assert not (folder / "out").exists()


def test_commands_on_a_study(foreign: tuple[Path, dict[str, str]], rnn_sweep: Command) -> None:
    folder, _ = foreign
    assert "Leaderboard of s" in rnn_sweep(folder, "leaderboard", "s").out
    assert rnn_sweep(folder, "report", "s").status == 0
    for arguments, words in (
        (["resume", "s"], "records no command"),
        (["reproduce", "s"], "recorded no MLflow run"),
        (["reproduce", "s", "--trial", "2"], "recorded no MLflow run"),
    ):
        answer = rnn_sweep(folder, *arguments)
        assert (answer.status, answer.err.count("\n")) == (2, 1)
        assert words in answer.err


def test_commands_on_the_folder(foreign: tuple[Path, dict[str, str]], rnn_sweep: Command) -> None:
    folder, _ = foreign
    assert rnn_sweep(folder, "sync").status == 0
    assert "1 in" in rnn_sweep(folder, "doctor").out


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("/opt/venv/bin/rnn-sweep", ["rnn-sweep", "train"]),
        ("/opt/venv/lib/python3.12/site-packages/rnn_sweep/__main__.py", ["rnn-sweep", "train"]),
        ("/somewhere/train.py", ["python", "train.py"]),
        ("/opt/bin/program", ["program"]),
    ],
)
def test_a_run_is_made_again_by_the_program_that_made_it(source: str, expected: list[str]) -> None:
    from rnn_sweep.commands.runs import _program

    assert _program(Path(source)) == expected
