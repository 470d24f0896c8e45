"""A trial that was told to stop is pruned, whatever its job says about its own end."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from omegaconf import DictConfig
from optuna.trial import TrialState

from rnn_sweep.outcome import Outcome, State
from rnn_sweep.sweep.heartbeat import OWNER_ATTR
from rnn_sweep.trial import PRUNED_ATTR, Reporter
from tests.conftest import ROOT
from tests.sweep.inprocess import InProcess

NODE = {"slope": 1.0, "seed": 0, "trial": None}
SEARCH = ["slope=choice(4,3,2,1)", "hydra/sweeper/sampler=grid", "hydra.sweeper.direction=maximize"]
PRUNER = ["hydra/sweeper/pruner=threshold", "hydra.sweeper.pruner.lower=3"]
"""Whatever reports less than 3 stops: that is two of the four slopes at their first step."""


def raises(error: BaseException) -> float:
    raise error


ENDS: dict[str, Callable[[float], Any]] = {
    "its best value so far": lambda value: value,
    "an outcome that says complete": lambda value: Outcome(State.COMPLETE, (value,)),
    "an outcome that says pruned": lambda value: Outcome(State.PRUNED, (value,)),
    "an outcome that says interrupted": lambda value: Outcome(State.INTERRUPTED, (value,)),
    "no value": lambda value: None,
    "NaN": lambda value: float("nan"),
    "too many values": lambda value: (value, value),
    "Optuna's exception": lambda value: raises(optuna.TrialPruned()),
    "an exception": lambda value: raises(ValueError("stopped")),
    "the end of the process": lambda value: raises(SystemExit(0)),
}


@pytest.mark.slow
@pytest.mark.parametrize("replicates", [1, 2])
@pytest.mark.parametrize("end", ENDS)
def test_a_trial_that_was_told_to_stop_is_pruned(in_process: InProcess, end: str, replicates: int) -> None:
    """Whatever the job returns or raises after it was told: each end × replicates."""

    def task(cfg: DictConfig) -> Any:
        reporter, value = Reporter(cfg.trial), 0.0
        for step in range(3):
            value = cfg.slope * (step + 1)
            if not reporter.report(step, value):
                assert not reporter.report(step + 1, 100.0), "once stopped, always"
                return ENDS[end](value)
        return value

    ended = in_process.search(task, NODE, *SEARCH, *PRUNER, f"hydra.sweeper.replicates={replicates}")
    if "interrupted" in end:  # a job that was told so by its launcher: the sweep does not go on over it
        assert ended.status == 130
        assert in_process.study().get_trials(states=(TrialState.PRUNED,))
        assert not in_process.study().get_trials(states=(TrialState.FAIL, TrialState.WAITING))
        return
    assert ended.status == 0, ended
    trials = in_process.study().trials
    assert {t.params["slope"]: t.state for t in trials} == {
        4: TrialState.COMPLETE,
        3: TrialState.COMPLETE,
        2: TrialState.PRUNED,
        1: TrialState.PRUNED,
    }
    assert all(len(t.intermediate_values) == 1 for t in trials if t.state is TrialState.PRUNED)
    assert "2 pruned, 0 failed" in ended.out


def test_optunas_exception_needs_no_reporter(in_process: InProcess) -> None:
    def task(cfg: DictConfig) -> float:
        return float(cfg.slope) if cfg.slope > 2 else raises(optuna.TrialPruned("too flat"))

    assert in_process.search(task, {"slope": 1.0}, *SEARCH).status == 0
    trials = in_process.study().trials
    assert [t.state for t in trials].count(TrialState.PRUNED) == 2
    assert {t.user_attrs.get("cause") for t in trials if t.state is TrialState.PRUNED} == {"too flat"}


def test_what_a_job_notes_is_not_taken_for_the_pruner(in_process: InProcess) -> None:
    def task(cfg: DictConfig) -> float:
        Reporter(cfg.trial).note("pruned", 0.5)
        return float(cfg.slope)

    assert in_process.search(task, NODE, *SEARCH).status == 0
    assert {t.state for t in in_process.study().trials} == {TrialState.COMPLETE}


def test_an_orphan_that_was_told_to_stop_is_not_tried_again(in_process: InProcess) -> None:
    """Its sweeper was killed between the job's last report and its end."""

    def task(cfg: DictConfig) -> float:
        return float(cfg.slope)

    assert in_process.search(task, NODE, *SEARCH, "hydra.sweeper.n_trials=1").status == 0
    study = in_process.study()
    orphan = study.ask()
    study._storage.set_trial_user_attr(orphan._trial_id, PRUNED_ATTR, True)
    orphan.set_user_attr(OWNER_ATTR, "nobody")
    assert in_process.search(task, NODE, *SEARCH, "hydra.sweeper.n_trials=3").status == 0
    assert in_process.study().trials[orphan.number].state is TrialState.PRUNED
    assert len(in_process.study().trials) == 3


def snippets(document: Path) -> list[str]:
    """The Python of a document that reports to a study."""
    found = re.findall(r"^```python\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)
    return [text for text in found if "Reporter(" in text]


DOCUMENTS = [path for path in sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")]) if snippets(path)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documented_snippets_do_to_the_study_what_they_say(in_process: InProcess, document: Path) -> None:
    for text in snippets(document):
        lines = text.replace("...", "accuracy = cfg.slope")
        code = f"def task(cfg):\n    epochs = 3\n{textwrap.indent(lines, '    ')}    return accuracy\n"
        names: dict[str, Any] = {"__name__": __name__}
        exec(code, names)  # noqa: S102 - our own document
        assert in_process.search(names["task"], NODE, *SEARCH, *PRUNER).status == 0
        states = [t.state for t in in_process.study().trials]
        assert (states.count(TrialState.PRUNED), states.count(TrialState.COMPLETE)) == (2, 2)


def test_there_is_a_snippet() -> None:
    assert [path.name for path in DOCUMENTS] == ["sweeps.md"]
