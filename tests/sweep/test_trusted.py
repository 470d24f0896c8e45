"""What a configuration may have called: the application's whitelist, which Hydra 1.4 asks for, holds in its jobs."""

from __future__ import annotations

import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from rnn_sweep.hydra_version import BEFORE_1_4
from tests.sweep.inprocess import InProcess


def two() -> float:
    return 2.0


def task(cfg: DictConfig) -> float:
    with pytest.raises(InstantiationException, match="whitelist"):
        instantiate({"_target_": "json.dumps", "obj": cfg.x})
    return float(instantiate({"_target_": f"{__name__}.two"}))


@pytest.mark.skipif(BEFORE_1_4, reason="Hydra has no whitelist before 1.4")
@pytest.mark.parametrize("sweeper", ["grid", "optuna"])
def test_it_is_the_jobs(in_process: InProcess, sweeper: str) -> None:
    if sweeper == "grid":
        ended = in_process.run(task, {"x": 1, "trial": None}, "-m", "hydra/sweeper=grid", "x=1,2")
    else:
        ended = in_process.search(task, {"x": 1, "trial": None}, "x=1,2", "hydra.sweeper.n_trials=2")
    assert ended.status == 0, ended
