"""Learning-rate schedules whose settings change in the middle of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rnn_sweep.config import OptimizerConfig, SchedulerConfig
from rnn_sweep.config.schema import SCHEDULERS
from rnn_sweep.training.schedule import Schedule

STEPS = 5
OPTIMIZERS = {
    "adam": OptimizerConfig("torch.optim.Adam", 0.1, {"betas": [0.9, 0.999]}),
    "sgd": OptimizerConfig("torch.optim.SGD", 0.1, {"momentum": 0.9}),
}


def through(schedule: Schedule, losses: list[float]) -> list[Any]:
    found = []
    for loss in losses:
        settings = schedule.epoch()
        found.append((settings.lr.tolist(), None if settings.momentum is None else settings.momentum.tolist()))
        schedule.after_epoch(loss)
    return found


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_changed_rate_goes_on_where_the_schedule_is(name: str, optimizer: str) -> None:
    options = {"plateau": {"factor": 0.5, "patience": 0}, "step": {"step_size": 2, "gamma": 0.5}}
    config = SchedulerConfig(name, {**SCHEDULERS[name], **options.get(name, {})})
    before, after = OPTIMIZERS[optimizer], replace(OPTIMIZERS[optimizer], lr=0.03)
    losses = [1.0, 2.0, 3.0, 1.5, 0.9, 2.0]
    first, whole = (Schedule(config, each, len(losses), STEPS) for each in (before, after))
    through(first, losses[:3])
    moved = Schedule(config, after, len(losses), STEPS)
    moved.load_state_dict(first.state_dict())
    rates, wanted = through(moved, losses[3:]), through(whole, losses)[3:]
    for (lr, momentum), (lr_wanted, momentum_wanted) in zip(rates, wanted, strict=True):
        assert lr == pytest.approx(lr_wanted)
        assert momentum == momentum_wanted
    same = Schedule(config, before, len(losses), STEPS)
    same.load_state_dict(first.state_dict())
    assert through(same, losses[3:]) == through(first, losses[3:])
