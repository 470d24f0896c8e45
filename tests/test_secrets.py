"""What is typed to reach a store is written down nowhere."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rnn_sweep.application import HOOKS
from rnn_sweep.config import to_tree
from rnn_sweep.errors import UserError
from rnn_sweep.redaction import TRACKING_VARIABLE, complete, withheld
from rnn_sweep.run.settings import composed as read
from tests.conftest import Run
from tests.test_config import composed
from tests.tracking.test_tracking_server import serving

SMALL = ["experiment=smoke", "data.limit=100", "model.hidden_dim=8", "trainer.epochs=2", "trainer.threads=1"]
URI = "http://ann:s3cret@host:5000"


@pytest.mark.slow
def test_credentials_of_the_tracking_store(run: Run, tmp_path: Path) -> None:
    """MLflow's server takes any name and password unless it is told to ask for them."""
    (tmp_path / "server").mkdir()
    with serving(tmp_path / "server", "server") as address:
        uri = address.replace("://", "://ann:s3cret@")
        two = ["-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "optimizer.lr=interval(1e-3,1e-2)"]
        check(run(*two, *SMALL, f"tracking.uri={uri}"), tmp_path)
        check(run("-m", "hydra/launcher=processes", "seed=1", *SMALL, f"tracking.uri='{uri}'"), tmp_path)
        check(run(*SMALL, "tracking.uri=${oc.env:WHERE}", env={"WHERE": uri}), tmp_path)
        refused = run(*SMALL, "tracking.uri=http://ann:s3cret@127.0.0.1:1")
        assert refused.returncode == 2
        assert "http://ann:***@127.0.0.1:1" in refused.stderr
        assert "s3cret" not in refused.stderr


def check(done: subprocess.CompletedProcess[str], folder: Path) -> None:
    """The sweep has worked, and neither its output nor any file holds the password."""
    assert done.returncode == 0, done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert [path.name for path in files if path.name == "result.json"]
    assert not [path for path in files if b"s3cret" in path.read_bytes()]


def test_an_override_is_recorded_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRACKING_VARIABLE, "")
    for typed in (f"tracking.uri={URI}", f"++tracking.uri='{URI}'"):
        hidden = withheld(typed)
        assert composed(hidden).tracking.uri == "http://ann:***@host:5000"
        assert complete("http://ann:***@host:5000") == URI
    assert complete("http://ann:***@elsewhere") == "http://ann:***@elsewhere"
    assert withheld("tracking.uri=http://host") == "tracking.uri=http://host"
    assert withheld("seed=1") == "seed=1"


def test_credentials_in_a_file_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRACKING_VARIABLE, "")
    monkeypatch.setenv("WHERE", URI)
    tree = OmegaConf.create(to_tree(composed()))
    tree.tracking.uri = "${oc.env:WHERE}"
    assert read(tree, HOOKS).settings.tracking.uri == read(tree, HOOKS).config["tracking"]["uri"]
    assert read(tree, HOOKS).settings.tracking.uri == "http://ann:***@host:5000"
    tree.tracking.uri = URI
    with pytest.raises(UserError, match=r"tracking\.uri must have no credentials in a file") as caught:
        read(tree, HOOKS)
    assert "s3cret" not in str(caught.value)
