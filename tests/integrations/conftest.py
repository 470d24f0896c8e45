"""Runs of trainers that own their loop: cut off in the midst, gone on with, and whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from rnn_sweep import Outcome, Run, start_run

Train = Callable[[Any, Run], object]
CFG = {"objective": "val/accuracy", "epochs": 5, "seed": 3, "tracking": {"enabled": False}}


class CutError(Exception):
    """What ends a run in an epoch's midst, as a kill does."""


@pytest.fixture
def trained(tmp_path: Path) -> Callable[..., Outcome]:
    """Run a training function to its end, in a folder."""

    def run(train: Train, folder: str, **settings: Any) -> Outcome:
        with start_run(OmegaConf.create({**CFG, **settings}), tmp_path / folder) as run:
            train(CFG | settings, run)
        return run.outcome

    return run


@pytest.fixture
def gone_on(tmp_path: Path, trained: Callable[..., Outcome]) -> Callable[..., tuple[Outcome, Outcome]]:
    """The outcomes of a run that was cut off and gone on with, and of one that was not."""

    def run(cut: Train, train: Train, **settings: Any) -> tuple[Outcome, Outcome]:
        with pytest.raises(CutError):
            trained(cut, "cut", **settings)
        assert not (tmp_path / "cut" / "result.json").exists()
        return trained(train, "cut", **settings), trained(train, "whole", **settings)

    return run
