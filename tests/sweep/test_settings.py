"""The keys of hydra.sweeper."""

from __future__ import annotations

from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus

from hydra_plugins.rnn_sweep_optuna.config import SWEEPER
from rnn_sweep.errors import UserError
from rnn_sweep.outcome import Outcome, State
from rnn_sweep.redaction import masked, unmasked
from rnn_sweep.storage import open_storage
from rnn_sweep.sweep.constraints import parse_constraints
from rnn_sweep.sweep.samplers import NEEDS, require
from rnn_sweep.sweep.settings import Settings, parse_settings
from rnn_sweep.sweep.slot_threads import WorkerDied
from rnn_sweep.sweep.verdict import End, judge


def test_what_is_registered_with_hydra_is_the_default() -> None:
    node = {k: v for k, v in SWEEPER.items() if k != "defaults"}
    parsed = parse_settings(node)
    assert parsed == Settings(enqueue=[], constraints=[], learn_from=[])


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("direction", "maximize", ("maximize",)),
        ("direction", ["minimize", "MAXIMIZE"], ("minimize", "maximize")),
    ],
)
def test_directions(key: str, value: Any, expected: tuple[str, ...]) -> None:
    assert parse_settings({key: value}).directions == expected


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(90, 90.0), (0.5, 0.5), ("90s", 90.0), ("15m", 900.0), ("1h30m", 5400.0), ("7", 7.0)],
)
def test_timeout(value: Any, seconds: float) -> None:
    assert parse_settings({"timeout": value}).timeout == seconds


def test_retries() -> None:
    assert parse_settings({"retries": 1}).retries["exception"] == 1
    assert parse_settings({"retries": {"exception": 3}}).retries == {**Settings().retries, "exception": 3}


def test_the_official_search_space_key() -> None:
    node = {"search_space": {"x": {"type": "int", "low": 0, "high": 1}, "y": 1}, "params": {"y": 2}}
    assert parse_settings(node).params == {"x": {"type": "int", "low": 0, "high": 1}, "y": 2}


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"n_trial": 3}, "did you mean 'n_trials'"),
        ({"n_trials": 0}, "at least 1, got 0"),
        ({"n_trials": "many"}, "got 'many'"),
        ({"n_jobs": True}, "n_jobs"),
        ({"direction": "maximise"}, "did you mean 'maximize'"),
        ({"direction": []}, "empty list"),
        ({"max_failure_rate": 2}, "from 0.0 to 1.0"),
        ({"timeout": "soon"}, "got 'soon'"),
        ({"timeout": 0}, "got 0"),
        ({"retries": {"exeption": 1}}, "did you mean 'exception'"),
        ({"retries": -1}, "at least 0"),
        ({"study_name": "a/b"}, "without slashes"),
        ({"study_name": ""}, "1 to 200"),
        ({"storage": "optuna.db"}, "URL"),
        ({"params": ["x"]}, "map keys to values"),
        ({"enqueue": {"x": 1}}, "must be a list"),
        ({"constraints": "a<=1"}, "must be a list"),
        ({"dry_run": "yes"}, "true or false"),
    ],
)
def test_mistakes(node: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as info:
        parse_settings(node)
    assert words in str(info.value)
    assert str(info.value).startswith("hydra.sweeper.")


def test_constraints() -> None:
    low, high = parse_constraints(["seconds <= 60", "val/accuracy>=1e-1"])
    assert low.excess(61) == 1
    assert high.excess(0.3) == pytest.approx(-0.2)
    for wrong in ("seconds < 60", "seconds <= 1.2.3", "seconds <= .", "seconds <= 1e999", "<= 3", "seconds <= nan"):
        with pytest.raises(UserError, match="must look like"):
            parse_constraints([wrong])


def job(value: Any) -> Any:
    """A finished job's future."""
    from concurrent.futures import Future

    future: Future[JobReturn] = Future()
    if isinstance(value, WorkerDied):
        future.set_exception(value)
    else:
        failed = isinstance(value, BaseException)
        status = JobStatus.FAILED if failed else JobStatus.COMPLETED
        future.set_result(JobReturn(status=status, _return_value=value))
    return future


@pytest.mark.parametrize(
    ("value", "objectives", "end", "kind"),
    [
        (1, 1, End.COMPLETE, None),
        ((1.0,), 1, End.COMPLETE, None),
        ([1, 2.5], 2, End.COMPLETE, None),
        (float("nan"), 1, End.FAIL, "no_value"),
        (float("inf"), 1, End.COMPLETE, None),
        (None, 1, End.FAIL, "no_value"),
        ("much", 1, End.FAIL, "no_value"),
        (1.0, 2, End.FAIL, "no_value"),
        (ValueError("bad"), 1, End.FAIL, "exception"),
        (WorkerDied("killed"), 1, End.FAIL, "worker_died"),
        (Outcome(State.COMPLETE, (0.5,)), 1, End.COMPLETE, None),
        (Outcome(State.COMPLETE, ()), 1, End.FAIL, "no_value"),
        (Outcome(State.PRUNED, (0.5,)), 1, End.PRUNED, None),
        (Outcome(State.DIVERGED, ()), 1, End.PRUNED, None),
        (Outcome(State.INTERRUPTED, (0.5,)), 1, End.FAIL, "interrupted"),
    ],
)
def test_verdicts(value: Any, objectives: int, end: End, kind: str | None) -> None:
    verdict = judge(job(value), objectives)
    assert (verdict.end, verdict.kind) == (end, kind)
    assert (verdict.cause is None) == (end is End.COMPLETE or (end is End.PRUNED and value.state is State.PRUNED))


def test_passwords_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql://me:p%40ss@host:5432/db?sslmode=require"
    hidden = "postgresql://me@host:5432/db?sslmode=require"
    assert masked(url) == hidden
    assert unmasked(hidden) == hidden
    monkeypatch.setenv("RNN_SWEEP_STORAGE", url)
    assert unmasked(hidden) == url
    assert unmasked("postgresql://me@other/db") == "postgresql://me@other/db"


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    require("optuna.samplers.RandomSampler", "hydra.sweeper.sampler")
    monkeypatch.setitem(NEEDS, "CmaEsSampler", "no_such_package")
    with pytest.raises(UserError, match=r"pip install 'rnn-sweep\[no_such_package\]'"):
        require("optuna.samplers.CmaEsSampler", "hydra.sweeper.sampler")


def test_a_store_that_cannot_be_opened() -> None:
    with pytest.raises(UserError) as info:
        open_storage("nosuch://me:secret@host/db")
    assert "secret" not in str(info.value)
    with pytest.raises(UserError, match="cannot be written"):
        open_storage("journal:///proc/none/x.journal")
