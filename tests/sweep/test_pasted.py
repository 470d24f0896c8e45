"""Every command that is printed says what it said when it was typed, for any name and any value."""

from __future__ import annotations

import shlex
from typing import Any

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from rnn_sweep.commands.resume import command
from rnn_sweep.commands.studies import folder_name
from rnn_sweep.errors import UserError
from rnn_sweep.outcome import Outcome, State
from rnn_sweep.quoting import assigned
from rnn_sweep.run.summary import summary
from rnn_sweep.sweep import study_metadata
from rnn_sweep.sweep.results import STUDY_KEY, Command
from rnn_sweep.sweep.settings import parse_settings
from rnn_sweep.sweep.space.grammar import choice
from tests.sweep.inprocess import InProcess

AWKWARD = [
    "it's",
    "{x}",
    "a,b",
    "a=b",
    "a#b",
    "a b",
    "$HOME",
    "${x}",
    "~",
    "~root",
    "*",
    "null",
    "7",
    'a"b',
    "-x",
    "!x",
    "ü",
]
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=20) | st.sampled_from(
    AWKWARD
)
NAMES = TEXT.filter(lambda text: is_name(text))


def is_name(text: Any) -> bool:
    try:
        parse_settings({"study_name": text})
    except UserError:
        return False
    return True


def value(overrides: list[str], key: str) -> Any:
    """What Hydra makes of the last override of ``key``."""
    found = [o for o in OverridesParser.create().parse_overrides(overrides) if o.get_key_element() == key]
    return OmegaConf.create({"x": found[-1].value()}).x


@settings(deadline=None)
@given(NAMES)
@example("a\\")
@example("\\${x}")
def test_a_study_is_gone_on_with_under_its_own_name(name: str) -> None:
    typed = ["-m", "hydra/sweeper=optuna", "x=choice('a b',c)", f"+{STUDY_KEY}=other"]
    line = shlex.split(Command(typed, ["python", "run.py"]).resume(name))
    assert line[:5] == ["python", "run.py", *typed[:3]]
    assert len(line) == 6
    assert value(line[5:], STUDY_KEY) == name
    study = optuna.create_study(study_name=name)
    study.set_user_attr(study_metadata.ATTR, {"program": ["python", "-m", "app"], "arguments": typed, "folder": "."})
    again = command(study, "postgresql://me@host/db?sslmode=require&x='", [])
    assert value(again[6:], STUDY_KEY) == name
    assert value(again[6:], "hydra.sweeper.storage") == "postgresql://me@host/db?sslmode=require&x='"


@settings(deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=3, unique=True))
def test_the_best_trial_is_trained_again_with_its_values(texts: list[str]) -> None:
    param = choice("x", texts, "x")
    for label, text in zip(param.texts, texts, strict=True):
        line = Command(["-m", "y=1", "-cn=other"], ["python", "run.py"]).plain(["y=1", param.override(label)])
        assert shlex.split(line)[:4] == ["python", "run.py", "-cn=other", "y=1"]
        again = OverridesParser.create().parse_override(shlex.split(line)[4])
        assert again.value() == text  # in which ${…} is an interpolation, as the user may have meant it


@settings(deadline=None)
@given(TEXT)
def test_an_interrupted_run_is_gone_on_with_from_its_folder(folder: str) -> None:
    way = ["python", "run.py", assigned("trainer.resume", folder)]
    (line,) = [
        text for text in summary(Outcome(State.INTERRUPTED, ()), folder, None, way).splitlines() if "go on:" in text
    ]
    assert value(shlex.split(line.partition("python run.py")[2]), "trainer.resume") == folder


@pytest.mark.parametrize(
    "name", [".", "..", "a/b", "a\\b", " a", "a ", "a\nb", "a\u2028b", "\ud800", "ü" * 101, "x" * 201, ""]
)
def test_names_that_are_none(name: str) -> None:
    assert not is_name(name)


@pytest.mark.parametrize("name", ["ü" * 100, "x" * 200, ".hidden", "a.b", *AWKWARD])
def test_names_that_are_some(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["..", ".", "../..", "/etc", "a\\..", "ü" * 300, "plain", "..."])
def test_a_report_stays_in_its_folder(name: str) -> None:
    folder = folder_name(name)
    assert "/" not in folder
    assert folder.strip(".")
    assert len(folder.encode()) <= 200


def task(cfg: DictConfig) -> float:
    return float(cfg.x)


@pytest.mark.parametrize("name", ["it's {x}, a=b#c", "ü" * 100])
def test_a_whole_sweep_under_such_a_name(in_process: InProcess, name: str) -> None:
    first = in_process.search(
        task, {"x": 1}, "x=1,2", *shlex.split(Command([], []).resume(name)), "hydra.sweeper.n_trials=1"
    )
    assert first.status == 0, first
    (line,) = [text.strip() for text in first.out.splitlines() if text.strip().startswith("python app.py -m")]
    again = in_process.run(task, {"x": 1}, *shlex.split(line)[2:], "hydra.sweeper.n_trials=2")
    assert again.status == 0, again
    assert len(in_process.study(name).trials) == 2


@pytest.mark.parametrize("typed", [["-m"], []])
def test_the_best_command_is_a_single_run_where_the_configuration_asks_for_a_sweep(
    in_process: InProcess, typed: list[str]
) -> None:
    ran = []

    def noted(cfg: DictConfig) -> float:
        ran.append(float(cfg.x))
        return float(cfg.x)

    node = {"x": 1, "hydra": {"mode": "MULTIRUN"}, "defaults": [{"override hydra/sweeper": "optuna"}, "_self_"]}
    quick = ["hydra.sweeper.report=false", "hydra.sweeper.n_trials=2", "hydra.job.chdir=false", "hydra.run.dir=here"]
    ended = in_process.run(noted, node, *typed, "x=3,4", "hydra/sweeper/sampler=grid", *quick)
    assert ended.status == 0, ended
    (line,) = [text.strip() for text in ended.out.splitlines() if text.strip().startswith("python app.py hydra")]
    assert "hydra.job.chdir=false hydra.run.dir=here" in line
    assert "hydra.mode=RUN x=3" in line
    ran.clear()
    assert in_process.run(noted, node, *shlex.split(line)[2:]).status == 0
    assert ran == [3.0]
