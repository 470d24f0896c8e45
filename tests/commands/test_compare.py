"""``rnn-sweep compare``."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest

from rnn_sweep.storage import open_storage, quiet
from tests.commands.conftest import Command


def make(folder: Path, name: str, values: list[float], direction: str = "maximize", goal: str = "score") -> str:
    """A study in a journal of its own; returns its URL."""
    (folder / "studies").mkdir(exist_ok=True)
    url = f"journal://{folder}/studies/{name}.journal"
    with quiet():
        study = optuna.create_study(study_name=name, storage=open_storage(url), directions=direction.split())
        study.set_metric_names([goal] * len(direction.split()))
        if len(study.directions) == 1:
            study.optimize(
                lambda trial: values[trial.number] + 0 * trial.suggest_float("a", 0, 1), n_trials=len(values)
            )
    return url


def test_a_table_a_page_and_json(rnn_sweep: Command, tmp_path: Path) -> None:
    make(tmp_path, "one", [0.1, 0.3])
    other = tmp_path / "elsewhere"
    other.mkdir()
    url = make(other, "one", [0.2, 0.25, 0.28])
    here = f"journal://{tmp_path}/studies/one.journal"
    done = rnn_sweep(tmp_path, "compare", "one", "one", "--storage", here, "--storage", url)
    assert done.status == 0, done.err
    assert "best after 2 trials" in done.out
    assert "one in studies/one.journal has the highest score, 0.3" in done.out
    page = Path(done.out.rpartition("page: ")[2].strip())
    assert page == Path("reports/one-vs-one/compare.html")
    assert f"--storage {url}" in (tmp_path / page).read_text()
    make(tmp_path, "two", [0.5])
    tree = json.loads(rnn_sweep(tmp_path, "compare", "one", "two", "--json").out)
    assert tree["ranking"] == ["two", "one"]
    assert [step["best"] for step in tree["studies"][0]["steps"]] == [0.1, 0.3]
    assert not (tmp_path / "reports" / "one-vs-two").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["first"], "compare needs two studies or more, got 'first'"),
        (["first", "first"], "compare needs different studies, got 'first' twice"),
        (["first", "frist"], "there is no study 'frist': did you mean 'first'"),
        (["first", "loss"], "'first' is to maximize score, 'loss' to minimize score"),
        (["first", "other"], "'first' is to maximize score, 'other' to maximize accuracy"),
        (["first", "several"], "compare is for studies of one objective; 'several' has 2"),
        (["first", "loss", *["--storage", "journal://x"] * 3], "--storage must be given once for all studies"),
    ],
)
def test_mistakes_are_one_message(rnn_sweep: Command, tmp_path: Path, arguments: list[str], message: str) -> None:
    make(tmp_path, "first", [1.0])
    make(tmp_path, "loss", [1.0], "minimize")
    make(tmp_path, "other", [1.0], goal="accuracy")
    make(tmp_path, "several", [], "maximize minimize")
    done = rnn_sweep(tmp_path, "compare", *arguments)
    assert done.status == 2
    assert done.err.startswith("error: ")
    assert message in done.err
    assert not (tmp_path / "reports").exists()
