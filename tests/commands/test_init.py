"""The projects that ``rnn-sweep init`` begins."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from rnn_sweep.commands.init import TEMPLATES, init, kind_of
from rnn_sweep.errors import UserError
from tests import warm

KINDS = ("torch", "lightning", "sklearn")


def test_there_is_a_project_of_each_kind() -> None:
    assert sorted(path.name for path in TEMPLATES.iterdir() if path.name != "__pycache__") == sorted(KINDS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_its_own_test_passes_at_once(tmp_path: Path, kind: str) -> None:
    """A project that was just made runs as its README says, whichever library it is for."""
    command = [sys.executable, "-m", "rnn_sweep", "init", "mine", f"--{kind}"]
    warm.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}  # threads that wait for each other take most of the time
    done = warm.run(line, cwd=tmp_path / "mine", env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "1 passed" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_every_command_of_its_readme_but_the_last_two_names_keys_that_there_are(tmp_path: Path, kind: str) -> None:
    from omegaconf import OmegaConf

    init(tmp_path / "mine", kind)
    cfg = OmegaConf.load(tmp_path / "mine" / "conf" / "config.yaml")
    words = (tmp_path / "mine" / "README.md").read_text().replace("'", "").split()
    keys = {word.partition("=")[0] for word in words if "=" in word} - {"hydra/sweeper"}
    assert len(keys) == 2
    for key in keys:
        assert OmegaConf.select(cfg, key) is not None, key


def test_what_cannot_be_made_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").write_text("")
    with pytest.raises(UserError, match=r"NAME must be a new or empty folder, got .*there"):
        init(tmp_path / "there", "torch")
    with pytest.raises(UserError, match="one of --torch, --lightning, --sklearn must be given at most, got 2"):
        kind_of(torch=True, lightning=True, sklearn=False)
    assert kind_of(torch=False, lightning=False, sklearn=False) == "torch"
    monkeypatch.setattr("rnn_sweep.commands.init.find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"--lightning needs the package lightning.*pip install 'rnn-sweep\[lightning\]'"
    ):
        kind_of(torch=False, lightning=True, sklearn=False)
