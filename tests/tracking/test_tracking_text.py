"""What is written into a store as text: parameters, masked addresses, provenance."""

import subprocess

import pytest

from rnn_sweep.provenance import pinned, source_tags, version_tags
from rnn_sweep.redaction import mask, plain, scrub
from rnn_sweep.tracking.params import MAX_VALUE, flatten


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("postgresql://ann:s3cret@db/mlflow", "postgresql://ann:***@db/mlflow"),
        ("postgresql+psycopg://ann:a@b:c/d@db/mlflow", "postgresql+psycopg://ann:***@db/mlflow"),
        ("https://token@host/x", "https://***@host/x"),
        ("mysql://db/x?user=ann&password=s3cret&ssl=1", "mysql://db/x?user=ann&password=***&ssl=1"),
        ("tracking.uri='https://u:p@h' seed=1", "tracking.uri='https://u:***@h' seed=1"),
    ],
)
def test_mask(text: str, masked: str) -> None:
    assert mask(text) == masked


def test_scrub_removes_the_password_where_a_driver_quotes_it_alone() -> None:
    uri = "postgresql://ann:s3%40cret@db/mlflow"
    assert "cret" not in scrub("login with 's3@cret' (s3%40cret) failed", uri)


def test_plain_masks_at_every_depth() -> None:
    tree = {"a": {"b": ("https://u:secret@h", 1, None)}}
    assert plain(tree) == {"a": {"b": ["https://u:***@h", 1, None]}}


def test_flatten() -> None:
    tree = {
        "model": {"hidden_dim": 64, "nonlinearity": None},
        "on": True,
        "lr": 1e-3,
        "betas": [0.9, 0.99],
        "o": {},
    }
    assert flatten(tree) == {
        "model.hidden_dim": "64",
        "model.nonlinearity": "null",
        "on": "true",
        "lr": "0.001",
        "betas": "[0.9, 0.99]",
        "o": "{}",
    }


def test_flatten_cuts_what_mlflow_would_refuse() -> None:
    flat = flatten({"k" * 300: "v" * 7000, "a=b": 1})
    assert {len(key) for key in flat} == {250, 3}
    assert max(len(value) for value in flat.values()) == MAX_VALUE
    assert flat["a_b"] == "1"


def test_source_tags_follow_the_repository(tmp_path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def tags(folder: str) -> dict[str, str]:
        return source_tags(tmp_path / folder / "run.py")  # the answer is kept for each folder

    for folder in ("one", "two", "three"):
        (tmp_path / folder).mkdir()
    assert not [key for key in tags(".") if "git" in key]

    (tmp_path / "one" / "run.py").write_text("a = 1\n")
    git("init", "-b", "trunk")
    git("add", ".")
    git("commit", "-m", "x")
    (tmp_path / "untracked.txt").write_text("x")
    found = tags("one")
    assert found["mlflow.source.git.commit"] == git("rev-parse", "HEAD")
    assert found["mlflow.source.git.branch"] == "trunk"
    assert found["git.dirty"] == "false"

    (tmp_path / "one" / "run.py").write_text("a = 2\n")
    assert tags("two")["git.dirty"] == "true"


def test_versions() -> None:
    tags = version_tags()
    assert {"version.python", "version.rnn_sweep", "version.torch", "version.mlflow"} <= tags.keys()
    assert pinned("torch", "no-such-package") == [f"torch=={tags['version.torch'].partition('+')[0]}"]
