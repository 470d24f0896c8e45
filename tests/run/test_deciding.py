"""What decides the outcome of a run: what a sweep may not run twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from rnn_sweep import compose
from rnn_sweep.application import HOOKS
from rnn_sweep.errors import UserError
from rnn_sweep.run import deciding
from rnn_sweep.run.decorator import _decides
from tests import warm

OWN = {"lr": 0.1, "seed": 3, "double": "${lr}", "tracking": {"uri": "a"}, "trial": {"number": 1}}


def test_of_a_function_of_ones_own() -> None:
    cfg = OmegaConf.create({**OWN, "hydra": {"job": {"num": 7}}})
    assert deciding.decides(True, cfg) == {"lr": 0.1, "seed": 3, "double": 0.1}
    assert deciding.decides(lambda cfg: f"digest {cfg.lr}", cfg) == [
        {"lr": 0.1, "seed": 3, "double": 0.1},
        "digest 0.1",
    ]
    assert deciding.decides(lambda cfg: None, cfg) is None


def test_of_one_whose_settings_are_nested() -> None:
    cfg = OmegaConf.create(
        {"tracking": "mine", "trial": "mine", "rnn_sweep": {"seed": 1, "trial": None, "tracking": {}}}
    )
    assert deciding.decides(True, cfg) == {"tracking": "mine", "trial": "mine", "rnn_sweep": {"seed": 1}}


@pytest.mark.parametrize("value", [3, "yes", None])
def test_a_wrong_argument(value: Any) -> None:
    with pytest.raises(UserError, match=r"deterministic=\.\.\.\) must be true, false or a function .*, got"):
        deciding.check(value)


def ours(*overrides: str) -> object:
    """Of a small run of ours."""
    return _decides(HOOKS, compose("experiment=smoke", "trainer.device=cpu", *overrides))


def test_of_our_own_function() -> None:
    one = ours()
    assert one is not None
    assert ours("tracking=off", "data.dir=/elsewhere") == one
    for other in ("seed=2", "trainer.epochs=6", "objective=val/loss", "data.split_seed=1", "trainer.engine=torch"):
        assert ours(other) not in (one, None), other


@pytest.mark.parametrize("part", ["trainer.timeout=60", "objective=seconds", "objective=[val/accuracy,seconds]"])
def test_the_clock_has_a_part_in_it(part: str) -> None:
    assert ours(part) is None


def test_the_content_of_a_file(tmp_path: Path) -> None:
    def save(seed: int) -> object:
        x = np.random.RandomState(seed).normal(size=(60, 5, 3)).astype("float32")
        np.savez(tmp_path / "own.npz", X=x, y=np.arange(60) % 2)
        return ours("data=npz", f"data.file={tmp_path / 'own.npz'}", "data.val_size=0.2", "data.batch_size=8")

    first = save(1)
    assert first is not None
    assert save(2) != first


SCRIPT = """
import rnn_sweep

@rnn_sweep.main(config_path="conf", config_name="config", deterministic=VALUE)
def train(cfg, run):
    with open("ran.txt", "a") as file:
        file.write(f"{cfg.x}\\n")
    return float(cfg.x)

if __name__ == "__main__":
    train()
"""


def sweep(folder: Path, value: str) -> subprocess.CompletedProcess[str]:
    """Of a function under the decorator with ``deterministic=value``, over a space of three points."""
    (folder / "conf").mkdir()
    (folder / "conf" / "config.yaml").write_text("x: 0\n")
    (folder / "train.py").write_text(SCRIPT.replace("VALUE", value))
    words = ["-m", "hydra/sweeper=optuna", "hydra/launcher=basic", "tracking.enabled=false", "x=range(0,3)"]
    words += ["hydra.sweeper.n_trials=40", "hydra.sweeper.report=false", "hydra/sweeper/sampler=random"]
    return warm.run([sys.executable, "train.py", *words], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_function_that_says_so_is_run_once_for_each_configuration(tmp_path: Path) -> None:
    done = sweep(tmp_path, "True")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted((tmp_path / "ran.txt").read_text().split()) == ["0", "1", "2"]
    assert "ended early: every point of the space was tried" in done.stdout


@pytest.mark.slow
def test_a_wrong_argument_ends_before_anything_is_made(tmp_path: Path) -> None:
    done = sweep(tmp_path, "3")
    assert done.returncode == 2
    assert done.stderr == "error: rnn_sweep.main(deterministic=...) must be true, false or a function of the" + (
        " configuration, got 3\n"
    )
    assert {path.name for path in tmp_path.iterdir()} <= {"conf", "train.py", "__pycache__"}
