"""Damaged files are told from whole ones, named, and repaired as far as they can be read: store × damage."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState

import rnn_sweep
from rnn_sweep import cli, data, tracking
from rnn_sweep.checkpoint import load
from rnn_sweep.commands.repair import repair
from rnn_sweep.config import DataConfig, TrackingConfig
from rnn_sweep.errors import Damaged, UserError
from rnn_sweep.files import CHECKPOINT_FILE as CHECKPOINT
from rnn_sweep.files import OUTBOX_FILE as OUTBOX
from rnn_sweep.files import RESULT_FILE, has_ended, read_result
from rnn_sweep.storage import open_storage
from rnn_sweep.sweep.study import counted
from tests.conftest import ROOT
from tests.faults.conftest import LONG, Record
from tests.sweep.inprocess import Ended, sweep

LINE = ["x=range(0,100)", "z=interval(0,1)", "hydra.sweeper.study_name=s", "hydra.sweep.dir=out"]
JOURNAL = Path("studies/s.journal")
DATABASE = Path("s.db")
URL = f"hydra.sweeper.storage=sqlite:///{DATABASE}"
GARBAGE = b'{"op_code": 5, "wor\x00\xff...\n'

Trials = dict[int, tuple[dict[str, Any], list[float]]]
Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """``rnn-sweep`` in the working folder: its exit status and what it printed."""

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["rnn-sweep", *arguments])
        capfd.readouterr()
        try:
            cli.main()
        except SystemExit as end:
            return int(end.code or 0), "".join(capfd.readouterr())
        return 0, "".join(capfd.readouterr())

    return call


def complete(url: str) -> Trials:
    study = optuna.load_study(study_name="s", storage=open_storage(url))
    return {t.number: (t.params, t.values) for t in study.get_trials(states=[TrialState.COMPLETE])}


def one_message(ended: Ended, *words: str) -> None:
    """A sweep was refused by one line."""
    assert ended.status == 2, ended
    assert len(ended.err.splitlines()) == 1, ended.err
    assert all(word in ended.err for word in ("error: ", "is damaged", "rnn-sweep repair", *words)), ended.err


def goes_on(before: Trials, url: str, *more: str, n_trials: int = 9) -> list[FrozenTrial]:
    """The next sweep comes to its end, and no trial that had ended has other values than before."""
    ended = sweep(*LINE, *more, f"hydra.sweeper.n_trials={n_trials}", "hydra.sweeper.max_failure_rate=1")
    assert ended.status == 0, ended
    study = optuna.load_study(study_name="s", storage=open_storage(url))
    assert len(counted(study.trials)) == n_trials
    assert not [t for t in study.trials if t.state in (TrialState.RUNNING, TrialState.WAITING)]
    for number, (params, values) in complete(url).items():
        if number in before:
            assert params.items() <= before[number][0].items()
            assert values == before[number][1]
    return study.trials


# A journal -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a study of six complete trials, in the working folder."""
    monkeypatch.chdir(tmp_path)
    ended = sweep(*LINE, "hydra.sweeper.n_trials=6", "hydra.sweeper.sampler.seed=1")
    assert ended.status == 0, ended
    return f"journal://{tmp_path / JOURNAL}"


def line_of(operation: int) -> int:
    """The number, from 0, of a line in the middle with an operation."""
    found = [n for n, line in enumerate(JOURNAL.read_bytes().splitlines()) if json.loads(line)["op_code"] == operation]
    return found[len(found) // 2]


def replaced(number: int, text: bytes) -> None:
    lines = JOURNAL.read_bytes().splitlines(keepends=True)
    lines[number] = text
    JOURNAL.write_bytes(b"".join(lines))


OPERATIONS = {
    "the study begins": 0,
    "a note on the study": 2,
    "a trial begins": 4,
    "a parameter": 5,
    "the end of a trial": 6,
    "a note on a trial": 8,
}


@pytest.mark.parametrize("what", OPERATIONS)
def test_a_line_of_a_journal_is_broken(journal: str, command: Command, what: str, record: Record) -> None:
    before, number = complete(journal), line_of(OPERATIONS[what])
    replaced(number, GARBAGE)
    damaged = JOURNAL.read_bytes()
    one_message(sweep(*LINE, "hydra.sweeper.n_trials=9"), str(JOURNAL), f"line {number + 1}")
    assert JOURNAL.read_bytes() == damaged
    status, said = command("leaderboard", "s")
    assert (status, said.count("\n")) == (2, 1)
    given = ["--direction", "minimize"] if what == "the study begins" else []
    status, said = command("repair", str(JOURNAL), *given)
    assert status == 0, said
    assert f"line {number + 1}" in said
    assert JOURNAL.with_name("s.journal.damaged").read_bytes() == damaged
    after = complete(journal)
    assert len(after) == 6 - (what == "the end of a trial")
    lost = [n for n in after if after[n] != before[n]]
    assert len(lost) == (what == "a parameter")
    goes_on(before, journal)
    record(f"a line of a journal is broken: {what}")


def test_nobody_guesses_which_way_a_study_is_searched(journal: str, command: Command) -> None:
    replaced(0, GARBAGE)
    damaged = JOURNAL.read_bytes()
    status, said = command("repair", str(JOURNAL))
    assert (status, said.count("\n")) == (2, 1)
    assert "--direction minimize" in said
    assert JOURNAL.read_bytes() == damaged
    assert command("repair", str(JOURNAL), "--direction", "up")[0] == 2


def last_value() -> int:
    return len(JOURNAL.read_bytes().splitlines()) - 1


MORE = {
    "a line is gone": lambda: replaced(line_of(4), b""),
    "a line is of another file": lambda: replaced(line_of(6), b'["a list"]\n'),
    "a line means nothing to Optuna": lambda: replaced(
        line_of(5), JOURNAL.read_bytes().splitlines(True)[line_of(5)].replace(b"Distribution", b"Nonsense")
    ),
    "the last line is broken": lambda: replaced(last_value(), GARBAGE),
    "zeros in the middle": lambda: JOURNAL.write_bytes(
        JOURNAL.read_bytes()[:900] + bytes(700) + JOURNAL.read_bytes()[1600:]
    ),
    "all of it is another file": lambda: JOURNAL.write_bytes(b"\x00\x01\x02" * 500 + b"\n"),
}


@pytest.mark.parametrize("what", MORE)
def test_a_journal_is_damaged(journal: str, command: Command, what: str, record: Record) -> None:
    before = complete(journal)
    MORE[what]()
    one_message(sweep(*LINE, "hydra.sweeper.n_trials=9"), str(JOURNAL), "line ")
    status, said = command("repair", str(JOURNAL))
    assert status == 0, said
    assert "lost: " in said
    if what == "all of it is another file":
        goes_on({}, journal, "hydra.sweep.dir=elsewhere")  # the folder is that of the study that is lost
    else:
        assert len(complete(journal)) >= 4
        goes_on(before, journal)
    assert command("repair", str(JOURNAL)) == (0, f"{JOURNAL}: nothing is wrong with it\n")
    record(f"a journal: {what}")


def test_a_line_that_was_being_written_is_no_damage(journal: str, record: Record) -> None:
    before = complete(journal)
    with JOURNAL.open("ab") as file:
        file.write(b'{"op_code":6,"trial_id":')
    assert complete(journal) == before
    goes_on(before, journal)
    record("a journal: its last line was cut off")


@settings(max_examples=300 if LONG else 30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), length=st.integers(1, 400))
def test_whatever_is_overwritten_no_trial_has_other_values(journal: str, place: float, length: int) -> None:
    """Zeros are never part of a line; the first one, which says the direction, is left out."""
    whole = JOURNAL.read_bytes()
    before, first = complete(journal), whole.index(b"\n") + 1
    at = first + int(place * (len(whole) - 1 - first))
    try:
        JOURNAL.write_bytes(whole[:at] + bytes(min(length, len(whole) - at)) + whole[at + length :])
        if JOURNAL.read_bytes().endswith(b"\n"):
            with pytest.raises(Damaged):
                complete(journal)
        assert repair(JOURNAL).lost
        for number, (params, values) in complete(journal).items():
            assert params.items() <= before[number][0].items()
            assert values == before[number][1]
    finally:
        for copy in JOURNAL.parent.glob("*.damaged*"):
            copy.unlink()
        JOURNAL.write_bytes(whole)


# A database ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    ended = sweep(*LINE, URL, "hydra.sweeper.n_trials=6")
    assert ended.status == 0, ended
    return f"sqlite:///{tmp_path / DATABASE}"


def page_of(table: str) -> int:
    """The number, from 1, of a table's first page."""
    with closing(sqlite3.connect(DATABASE)) as opened:
        return int(opened.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0])


def overwrite(page: int, content: bytes = bytes(4096)) -> None:
    with DATABASE.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(content)


@pytest.mark.parametrize("table", ["trials", "trial_values", "trial_params", "trial_user_attributes", "studies"])
def test_a_page_of_a_database_is_lost(database: str, command: Command, table: str, record: Record) -> None:
    before = complete(database)
    overwrite(page_of(table))
    damaged = DATABASE.read_bytes()
    one_message(sweep(*LINE, URL, "hydra.sweeper.n_trials=9"), str(DATABASE))
    status, said = command("leaderboard", "s", "--storage", f"sqlite:///{DATABASE}")
    assert (status, said.count("\n")) == (2, 1)
    status, said = command("repair", str(DATABASE))
    assert status == 0, said
    assert f"lost: table {table}" in said
    assert DATABASE.with_name("s.db.damaged").read_bytes() == damaged
    goes_on(before, database, URL)
    record(f"a page of a study's sqlite is lost: {table}")


@pytest.mark.parametrize("what", ["its header", "its second half", "all of it"])
def test_nothing_of_a_database_can_be_saved(database: str, command: Command, what: str, record: Record) -> None:
    whole = DATABASE.read_bytes()
    after = {
        "its header": b"x" * 4096 + whole[4096:],
        "its second half": whole[: len(whole) // 2 - 1000],
        "all of it": b"x" * 9000,
    }
    DATABASE.write_bytes(after[what])
    ended = sweep(*LINE, URL, "hydra.sweeper.n_trials=9")
    one_message(ended, str(DATABASE))
    status, said = command("repair", str(DATABASE))
    assert "Traceback" not in said
    if status:
        assert said.count("\n") == 1
        assert DATABASE.read_bytes() == after[what]
    record(f"a study's sqlite: {what} is lost")


def test_a_row_in_the_middle_is_lost(database: str) -> None:
    """Trials keep their numbers, and the next one gets a number of its own."""
    with closing(sqlite3.connect(DATABASE)) as opened:
        opened.execute("DELETE FROM trials WHERE number = 2")
        opened.commit()
    before = complete(database)
    overwrite(page_of("trial_intermediate_values"))
    assert "how trial 2 ended, which counts as failed now" in repair(DATABASE).lost
    trials = goes_on(before, database, URL)
    assert [t.number for t in trials] == list(range(len(trials)))
    assert trials[2].state is TrialState.FAIL


# What runs leave -----------------------------------------------------------------------------------------------------


class Cut(Exception):  # noqa: N818
    """Ends a run where it stands, as a kill would."""


def run(folder: Path, until: int | None = None, **tracking: Any) -> None:
    """A run of three epochs, which may be cut off."""
    cfg = OmegaConf.create({"tracking": {"enabled": False, **tracking}})
    with rnn_sweep.start_run(cfg, folder) as own:
        net = own.keep(torch.nn.Linear(30, 30))
        for epoch in own.epochs(3):
            if epoch == until:
                raise Cut
            with torch.no_grad():
                net.weight += 1
            own.log({"val/loss": 1 / (epoch + 1)})


def changed(whole: bytes, at: int) -> bytes:
    return whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "cut off": lambda whole: whole[: len(whole) // 2],
    "zeros": lambda whole: whole[: len(whole) // 2] + bytes(99) + whole[len(whole) // 2 + 99 :],
    "another file": lambda whole: b"\x00\x01\x02" * 99,
}


@pytest.mark.parametrize("what", [*DAMAGES, "one bit of a weight"])
def test_a_checkpoint_is_damaged(tmp_path: Path, command: Command, what: str, record: Record) -> None:
    folder, path = tmp_path / "run", tmp_path / "run" / CHECKPOINT
    with pytest.raises(Cut):
        run(folder, until=2)
    whole = path.read_bytes()
    weights = load(folder)["kept"]["Linear 1"]["weight"].numpy().tobytes()
    bit = {"one bit of a weight": lambda whole: changed(whole, whole.index(weights) + 1000)}
    path.write_bytes({**DAMAGES, **bit}[what](whole))
    damaged = path.read_bytes()
    with pytest.raises(Damaged, match=re.escape(str(path))):
        load(folder)
    with pytest.raises(Damaged, match="rnn-sweep repair"):
        run(folder)
    status, said = command("repair", str(path))
    assert status == 0, said
    assert "begins anew" in said
    assert path.with_name(f"{CHECKPOINT}.damaged").read_bytes() == damaged
    run(folder)
    assert len(read_result(folder / RESULT_FILE)["history"]) == 3
    record(f"a checkpoint is damaged: {what}")


RESULTS = {
    **DAMAGES,
    "another state": lambda whole: whole.replace(b'"complete"', b'"done"'),
    "a list": lambda whole: b"[1, 2]",
    "no metrics": lambda whole: whole.replace(b'"metrics"', b'"m"'),
}


@pytest.mark.parametrize("what", RESULTS)
def test_a_result_is_damaged(tmp_path: Path, command: Command, what: str, record: Record) -> None:
    """It is not taken for the result of a run that has ended, nor for none at all."""
    folder, path = tmp_path / "run", tmp_path / "run" / RESULT_FILE
    run(folder)
    whole = read_result(path)
    path.write_bytes(RESULTS[what](path.read_bytes()))
    for look in (lambda: read_result(path), lambda: has_ended(folder), lambda: run(folder)):
        with pytest.raises(Damaged, match=re.escape(str(path))):
            look()
    assert command("repair", str(path))[0] == 0
    run(folder)  # from its checkpoint, which has all epochs
    assert read_result(path)["history"] == whole["history"]
    assert command("repair", str(path)) == (0, f"{path}: nothing is wrong with it\n")
    record(f"a result.json is damaged: {what}")


def test_a_grids_report_counts_a_damaged_result_as_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from rnn_sweep.report import grid
    from rnn_sweep.sweep.grid import Grid

    run(tmp_path / "0")
    run(tmp_path / "1")
    (tmp_path / "1" / RESULT_FILE).write_text("{")
    own = Grid("g", tmp_path, [], {}, [])
    assert len(list(grid._results(own))) == 1
    assert "rnn-sweep repair" in caplog.text


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """MLflow's, with one run of each test."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    tracking.check(TrackingConfig(uri=uri))
    return uri


OUTBOXES: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "an epoch is broken": (3, lambda text: b'{"kind": "epoch", "cont\x00\xff\n'),
    "an epoch is another file's": (3, lambda text: b"[1]\n"),
    "a kind that nobody knows": (2, lambda text: text.replace(b'"params"', b'"parms"')),
    "its first line is broken": (1, lambda text: text.replace(b"}", b"")),
}


@pytest.mark.parametrize("what", OUTBOXES)
def test_an_outbox_is_damaged(tmp_path: Path, store: str, command: Command, what: str, record: Record) -> None:
    """Nothing of it is delivered, and nothing deleted, before it is repaired; then the rest is delivered."""
    path, client = tmp_path / OUTBOX, MlflowClient(tracking_uri=store)
    own = client.create_run("0").info.run_id
    lines: list[dict[str, Any]] = [{"uri": store, "experiment": "Default", "run_id": own}]
    lines += [{"kind": "params", "content": {"params": {"a": "1"}}}]
    lines += [{"kind": "epoch", "content": {"epoch": n, "metrics": {"loss": 1 / n}, "time": n}} for n in (1, 2, 3)]
    number, change = OUTBOXES[what]
    texts = [json.dumps(line).encode() + b"\n" for line in lines]
    texts[number - 1] = change(texts[number - 1])
    path.write_bytes(b"".join(texts))
    status, said = command("sync", str(tmp_path))
    assert (status, said.count("\n")) == (1, 1)
    assert f"line {number}" in said
    assert str(path) in said
    assert path.read_bytes() == b"".join(texts)
    assert client.get_run(own).data.params == {}
    status, said = command("repair", str(path))
    assert status == 0, said
    assert f"line {number}" in said
    assert command("sync", str(tmp_path))[0] == 0
    assert not path.exists()
    told = client.get_run(own)
    assert (told.info.status, len(told.data.params)) == ("KILLED", int("kind" not in what))
    points = [point.step for point in client.get_metric_history(own, "loss")]
    assert points == ([2, 3] if "epoch" in what else [1, 2, 3])
    record(f"an outbox is damaged: {what}")


def test_mlflows_database_is_damaged(tmp_path: Path, command: Command, record: Record) -> None:
    """A run goes on beside a store of which a page is lost, and its records are delivered after the repair."""
    path = tmp_path / "mlflow.db"
    uri = f"sqlite:///{path}"

    def apart(name: str) -> str:
        """A run in a process of its own; what it said."""
        call = f"run(Path({str(tmp_path / name)!r}), enabled=True, uri={uri!r})"
        script = f"from pathlib import Path; from tests.faults.test_damage import run; {call}"
        done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr

    assert "rnn-sweep repair FILE" not in apart("first")
    with closing(sqlite3.connect(path)) as opened:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'latest_metrics'"
        page, size = opened.execute(query).fetchone()[0], opened.execute("PRAGMA page_size").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes(size))
    assert "rnn-sweep repair FILE" in apart("second")
    assert (tmp_path / "second" / OUTBOX).is_file()
    status, said = command("repair", str(path))
    assert status == 0, said
    assert "lost: table latest_metrics" in said
    status, said = command("sync", str(tmp_path))
    assert status == 0, said
    client = MlflowClient(tracking_uri=uri)
    found = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert [each.info.status for each in found] == ["FINISHED", "FINISHED"]
    assert {len(client.get_metric_history(each.info.run_id, "val/loss")) for each in found} == {3}
    record("a page of MLflow's sqlite is lost: latest_metrics")


def test_mlflows_database_is_another_file(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"x" * 9000)
    with pytest.raises(Damaged, match=re.escape(str(path))):
        tracking.check(TrackingConfig(uri=f"sqlite:///{path}"))
    assert path.read_bytes() == b"x" * 9000


def test_an_outbox_whose_first_line_is_lost(tmp_path: Path, command: Command) -> None:
    (tmp_path / OUTBOX).write_bytes(b'\x00\x00\n{"kind": "params", "content": {"params": {}}}\n')
    status, said = command("repair", str(tmp_path / OUTBOX))
    assert (status, said.count("\n")) == (2, 1)
    assert "where the run is recorded" in said
    assert list(tmp_path.iterdir()) == [tmp_path / OUTBOX]


@pytest.mark.parametrize("what", DAMAGES)
def test_cached_data_are_damaged(tmp_path: Path, command: Command, what: str, record: Record) -> None:
    config = DataConfig(name="digits", val_size=300, dir=str(tmp_path))
    before = data.load(config).x_train
    path = next(tmp_path.rglob("*images*"))
    path.write_bytes(DAMAGES[what](path.read_bytes()))
    with pytest.raises(UserError, match=re.escape(str(path))):
        data.load(config)
    assert command("repair", str(path))[0] == 0
    assert torch.equal(data.load(config).x_train, before)
    record(f"cached data are damaged: {what}")


def test_what_is_no_file_of_ours_is_left_alone(tmp_path: Path, command: Command) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for path in (tmp_path / "notes.txt", tmp_path / "nowhere.journal", tmp_path):
        status, said = command("repair", str(path))
        assert (status, said.count("\n")) == (2, 1)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
