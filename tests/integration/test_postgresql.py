"""A study on a real PostgreSQL: shared, secured, and gone for a while."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from optuna.trial import TrialState

from rnn_sweep.errors import UserError
from rnn_sweep.storage import open_patiently, open_storage
from rnn_sweep.storage.opening import Unreachable
from tests.integration import services
from tests.integration.conftest import Load, close
from tests.sweep.conftest import Sweeps

pytestmark = pytest.mark.slow

SPHERE = "sphere/app.py"
X = "x=interval(-5,5)"


def test_sweepers_share_a_new_database(sweeps: Sweeps, database: str, load: Load) -> None:
    """All at once on an empty one, where each wants to make the tables."""
    args = [X, "hydra.sweeper.study_name=s", "hydra.sweeper.n_trials=40", f"hydra.sweeper.storage={database}"]
    all_ = [sweeps.start(SPHERE, *args, "hydra/launcher=basic", f"hydra.sweep.dir=out{i}") for i in range(4)]
    outs = [process.communicate(timeout=120) for process in all_]
    assert [process.returncode for process in all_] == [0] * 4, outs
    trials = load("s", database).trials
    states = Counter(t.state for t in trials if "surplus" not in t.user_attrs)
    assert states == {TrialState.COMPLETE: 40}
    assert [t.number for t in trials] == list(range(len(trials)))
    ran = [path.name for path in sweeps.folder.glob("out*/*") if path.name.isdigit()]
    assert sorted(map(int, ran)) == [t.number for t in trials if "surplus" not in t.user_attrs]


def test_worker_processes_report_to_it(sweeps: Sweeps, database: str, load: Load) -> None:
    sweeps.run(
        "curve.py", "slope=choice(1,0.1,0.2,0.3)", "hydra.sweeper.direction=maximize", "hydra/launcher=processes",
        "hydra.sweeper.n_trials=8", "hydra.sweeper.n_jobs=2", "hydra.sweeper.study_name=p",
        "hydra.sweep.dir=out", "hydra/sweeper/pruner=median",
        "hydra.sweeper.pruner.n_startup_trials=1", "hydra.sweeper.sampler.seed=1",
        f"hydra.sweeper.storage={database}",
    )  # fmt: skip
    assert {t.state for t in load("p", database).trials} == {TrialState.COMPLETE, TrialState.PRUNED}


def test_the_server_goes_away_and_comes_back(
    sweeps: Sweeps, database: str, postgresql: services.PostgreSQL, load: Load
) -> None:
    process = sweeps.start(
        SPHERE, X, "hydra/launcher=basic", "hydra.sweeper.study_name=b", "hydra.sweeper.n_trials=12", "seconds=0.3",
        f"hydra.sweeper.storage={database}",
    )  # fmt: skip
    study = None
    while study is None or len(study.trials) < 3:
        assert process.poll() is None
        try:
            study = load("b", database)
        except KeyError:
            time.sleep(0.2)
    postgresql.control("-m", "immediate", "stop")
    time.sleep(2)
    postgresql.start()
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, out + err
    states = [t.state for t in study.trials]
    assert states.count(TrialState.COMPLETE) == 12
    assert TrialState.RUNNING not in states


def test_a_job_that_begins_meanwhile_waits(database: str, postgresql: services.PostgreSQL) -> None:
    postgresql.control("-m", "immediate", "stop")
    with pytest.raises(Unreachable, match="refused"):
        open_storage(database)
    comes_back = threading.Timer(1.5, postgresql.start)
    comes_back.start()
    storage = open_patiently(database)
    assert storage.get_all_studies() == []
    comes_back.join()
    close(storage)


@pytest.mark.parametrize("typed", ["hydra.sweeper.storage={}", '++hydra.sweeper.storage="{}?application_name=x"'])
def test_the_password_stays_out_of_records(
    sweeps: Sweeps, database: str, postgresql: services.PostgreSQL, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    """In the URL, as a careless user types it; the workers get it all the same."""
    monkeypatch.delenv("PGPASSWORD")
    url = database.replace("sweep@", f"sweep:{postgresql.password.replace('@', '%40')}@")
    out, err = sweeps.run(
        "curve.py", "slope=choice(1,2)", "hydra/launcher=processes", "hydra.sweeper.n_trials=2",
        "hydra.sweeper.n_jobs=1", "hydra.sweeper.study_name=p", "hydra.sweep.dir=out", typed.format(url),
    )  # fmt: skip
    written = [path.read_bytes() for path in sweeps.folder.rglob("*") if path.is_file()]
    name = database.rpartition("/")[2]
    recorded = [
        postgresql.sql(f"SELECT value_json FROM {table}_user_attributes", name)  # noqa: S608
        for table in ("study", "trial")
    ]
    assert all(recorded)
    assert "s3cret" not in f"{out}{err}{recorded}"
    assert not [content for content in written if b"s3cret" in content]


def test_the_password_file(
    database: str, postgresql: services.PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    (tmp_path / "pgpass").write_text(f"127.0.0.1:{postgresql.port}:*:sweep:{postgresql.password}\n")
    (tmp_path / "pgpass").chmod(0o600)
    storage = open_storage(database)
    assert storage.get_all_studies() == []
    close(storage)


class TestBadInput:
    """One message, with the host and without the password, and nothing left behind."""

    def refused(self, sweeps: Sweeps, url: str) -> str:
        message = sweeps.refused(SPHERE, X, "hydra.sweeper.study_name=s", f"hydra.sweeper.storage={url}")
        assert message.count("\n") == 1
        assert "s3cret" not in message
        return message

    def test_a_wrong_password(self, sweeps: Sweeps, postgresql: services.PostgreSQL) -> None:
        message = self.refused(sweeps, postgresql.url("postgres", "s3cret-but-wrong"))
        assert f"sweep@127.0.0.1:{postgresql.port}/postgres cannot be opened" in message
        assert "password authentication failed" in message

    def test_nobody_listens(self, sweeps: Sweeps) -> None:
        port = services.free_port()
        message = self.refused(sweeps, f"postgresql://me:s3cret@127.0.0.1:{port}/db")
        assert f"me@127.0.0.1:{port}/db cannot be opened" in message
        assert "refused" in message

    def test_nobody_answers(self, sweeps: Sweeps) -> None:
        with services.mute() as port:
            message = self.refused(sweeps, f"postgresql://me:s3cret@127.0.0.1:{port}/db")
        assert f"me@127.0.0.1:{port}/db cannot be opened" in message
        assert "timeout" in message or "no answer" in message

    def test_no_such_database(self, sweeps: Sweeps, database: str) -> None:
        assert 'database "nowhere" does not exist' in self.refused(sweeps, database.rpartition("/")[0] + "/nowhere")

    @pytest.mark.parametrize(("revision", "advice"), [("v2.4.0.a", "storage upgrade"), ("v99.0.0", "pip install -U")])
    def test_another_schema(
        self, sweeps: Sweeps, database: str, postgresql: services.PostgreSQL, revision: str, advice: str
    ) -> None:
        close(open_storage(database))
        statement = f"UPDATE alembic_version SET version_num = '{revision}'"  # noqa: S608
        postgresql.sql(statement, database.rpartition("/")[2])
        assert advice in self.refused(sweeps, database)

    def test_the_database_of_mlflow(self, database: str, postgresql: services.PostgreSQL) -> None:
        """Its own message: both keep their schema's version in a table of the same name."""
        name = database.rpartition("/")[2]
        postgresql.sql("CREATE TABLE alembic_version (version_num text)", name)
        postgresql.sql("CREATE TABLE experiments (experiment_id int)", name)
        with pytest.raises(UserError, match=r"is the database of MLflow; a study needs a database of its own"):
            open_storage(database)
