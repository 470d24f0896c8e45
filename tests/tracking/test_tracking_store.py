"""The store before a run: created once, checked, and refused with one readable line."""

import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from rnn_sweep import tracking
from rnn_sweep.config import TrackingConfig
from rnn_sweep.errors import UserError


def refusal(uri: str) -> str:
    with pytest.raises(UserError) as caught:
        tracking.check(TrackingConfig(uri=uri))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_check_creates_the_database_and_nothing_else_in_silence(tmp_path, capfd) -> None:
    tracking.check(TrackingConfig())
    assert files(tmp_path) <= {"mlflow.db", "mlflow.db.lock"}
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("damage", [None, b"", b"no database", "half", "old"])
def test_a_database_begins_as_a_copy_of_an_empty_one(tmp_path, monkeypatch, capfd, damage) -> None:
    """Which is the same as one that MLflow has made, and whatever has become of the copy in the user's cache."""

    def created(name: str) -> set[tuple[str, ...]]:
        """Tables with their columns, and indices."""
        tracking.check(TrackingConfig(uri=f"sqlite:///{tmp_path / name}/mlflow.db"))
        with closing(sqlite3.connect(tmp_path / name / "mlflow.db")) as database:
            places = database.execute("SELECT name, artifact_location FROM experiments").fetchall()
            query = (
                "SELECT m.type, m.name, c.name, c.type FROM sqlite_master AS m LEFT JOIN pragma_table_info(m.name) AS c"
            )
            found = set(database.execute(query).fetchall())
        assert places == [("Default", f"file://{tmp_path / name}/mlruns/0")]
        return found

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    by_mlflow = created("first")
    (empty,) = (tmp_path / "cache" / "rnn-sweep").iterdir()
    content = empty.read_bytes()
    if damage == "old":
        with closing(sqlite3.connect(empty, isolation_level=None)) as database:
            database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    elif damage is not None:
        empty.write_bytes(content[: len(content) // 2] if damage == "half" else damage)
    assert created("second") == by_mlflow
    assert {path.name for path in (tmp_path / "second").iterdir()} <= {"mlflow.db", "mlflow.db.lock"}
    assert [path.name for path in empty.parent.iterdir()] == [empty.name]
    assert capfd.readouterr() == ("", "")


def test_a_cache_that_cannot_be_written_hinders_nothing(tmp_path, monkeypatch) -> None:
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tracking.check(TrackingConfig())
    assert "mlflow.db" in files(tmp_path)


def test_check_of_tracking_turned_off_touches_nothing(tmp_path) -> None:
    tracking.check(TrackingConfig(enabled=False, uri="nonsense"))
    assert files(tmp_path) == set()


@pytest.mark.parametrize(
    "uri", ["file:./mlruns", "./mlruns", "mlflow.db", "", "sqlit:///mlflow.db", "sqlite:x", "http:/x"]
)
def test_unsupported_addresses(tmp_path, uri) -> None:
    message = refusal(uri)
    assert message.startswith("tracking.uri must begin with one of sqlite://")
    assert f"got '{uri}'" in message
    assert files(tmp_path) == set()


def test_a_mistyped_scheme_is_put_right() -> None:
    assert "did you mean 'postgresql'" in refusal("postgres://ann:s3cret@db/x")


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite://mlflow.db"])
def test_sqlite_needs_a_file(uri) -> None:
    assert "tracking.uri must name a database file" in refusal(uri)


def test_a_folder_that_cannot_be_made(tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    message = refusal("sqlite:///file/mlflow.db")
    assert message.startswith("tracking.uri must be a store that can be written: got 'sqlite:///file/mlflow.db'")
    assert files(tmp_path) == {"file"}


def test_a_folder_in_the_place_of_the_database(tmp_path) -> None:
    (tmp_path / "mlflow.db").mkdir()
    assert "tracking.uri" in refusal("sqlite:///mlflow.db")


def test_a_file_that_is_no_database(tmp_path) -> None:
    (tmp_path / "mlflow.db").write_text("these are my notes, " * 100)
    assert "not a database" in refusal("sqlite:///mlflow.db")
    assert (tmp_path / "mlflow.db").read_text().startswith("these are my notes")


def test_the_database_of_another_program_is_left_alone(tmp_path) -> None:
    with sqlite3.connect(tmp_path / "study.db") as database:
        database.execute("CREATE TABLE trials (a)")
    database.close()
    before = (tmp_path / "study.db").read_bytes()
    assert "holds other tables" in refusal("sqlite:///study.db")
    assert (tmp_path / "study.db").read_bytes() == before


def test_a_database_of_another_version_of_mlflow(database) -> None:
    with sqlite3.connect(database) as opened:
        opened.execute("UPDATE alembic_version SET version_num = 'abc'")
    opened.close()
    assert "schema" in refusal("sqlite:///mlflow.db")


@pytest.mark.slow
def test_what_a_killed_creation_left_is_no_obstacle(tmp_path) -> None:
    (tmp_path / "mlflow.db.new").write_bytes(b"half a database")
    tracking.check(TrackingConfig())
    assert not (tmp_path / "mlflow.db.new").exists()


@pytest.mark.timeout(30)
def test_a_server_that_is_not_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    message = refusal(f"http://ann:s3cret@127.0.0.1:{port}")
    assert f"got 'http://ann:***@127.0.0.1:{port}'" in message
    assert "s3cret" not in message


@pytest.mark.slow
@pytest.mark.timeout(30)
def test_a_server_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        message = refusal(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert "tracking.uri" in message


def test_a_database_server_without_its_driver_or_without_the_server() -> None:
    message = refusal("postgresql://ann:s3cret@127.0.0.1:1/mlflow")
    assert "postgresql://ann:***@127.0.0.1:1/mlflow" in message
    assert "s3cret" not in message


def test_a_deleted_experiment(database) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{database}")
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(UserError, match=r"tracking\.experiment must not be a deleted experiment: got 'gone'"):
        tracking.check(TrackingConfig(experiment="gone"))


@pytest.mark.slow
def test_four_first_runs_at_once(tmp_path) -> None:
    """Racing processes migrate the database once, and share one experiment."""
    script = (
        "from pathlib import Path\n"
        "from rnn_sweep import tracking\n"
        "from rnn_sweep.config import TrackingConfig\n"
        "c = TrackingConfig()\n"
        "tracking.check(c)\n"
        "run = tracking.start_run(c, tracking.Opening(params={'seed': 1}, overrides=[], output_dir=Path('.')))\n"
        "run.log_epoch(1, {'val/loss': 0.5})\n"
        "run.kill()\n"
    )
    start = [sys.executable, "-c", script]
    racers = [subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(4)]
    said = [racer.communicate(timeout=120)[0] for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0, 0, 0], said
    assert said == ["", "", "", ""]
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        rows = database.execute("SELECT count(*), count(DISTINCT experiment_id) FROM runs").fetchall()
    database.close()
    assert rows == [(4, 1)]
