"""Kept torch optimisers and schedules where settings have changed since the checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from rnn_sweep.run.kept import Kept

Make = Callable[[Any], Any]

SCHEDULES: dict[str, Make] = {
    "none": lambda optimizer: None,
    "step": lambda optimizer: lr_scheduler.StepLR(optimizer, 2, 0.5),
    "exponential": lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.9),
    "cosine": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 8),
    "onecycle": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, optimizer.param_groups[0]["lr"], total_steps=8),
    "lambda": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch)),
}


class Loop:
    """What a function of a user's own keeps."""

    def __init__(self, lr: float, decay: float, make: Make, states: Any = None, *, changed: bool = False) -> None:
        kept = Kept(states, changed=changed)
        self.net = kept.add(torch.nn.Linear(2, 1), None)
        self.optimizer = kept.add(torch.optim.Adam(self.net.parameters(), lr, weight_decay=decay), None)
        self.schedule = make(self.optimizer)
        if self.schedule is not None:
            kept.add(self.schedule, None)
        kept.restore()
        self.kept = kept

    def run(self, epochs: int) -> list[float]:
        rates = []
        for _ in range(epochs):
            self.optimizer.zero_grad()
            self.net(torch.ones(3, 2)).sum().backward()
            self.optimizer.step()
            rates.append(self.optimizer.param_groups[0]["lr"])
            if self.schedule is not None:
                self.schedule.step()
        return rates


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_state_stays_and_the_settings_are_new(name: str) -> None:
    make = SCHEDULES[name]
    before = Loop(0.1, 0.0, make)
    before.run(3)
    states = before.kept.states()
    whole = Loop(0.02, 0.5, make).run(8)  # as if the rate had been that from the beginning
    after = Loop(0.02, 0.5, make, states, changed=True)
    moments = [state["exp_avg"].clone() for state in after.optimizer.state.values()]
    assert all(torch.equal(a, b["exp_avg"]) for a, b in zip(moments, before.optimizer.state.values(), strict=True))
    assert after.optimizer.param_groups[0]["weight_decay"] == 0.5
    assert after.run(5) == pytest.approx(whole[3:])


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_same_settings_go_on_as_they_were(name: str) -> None:
    make = SCHEDULES[name]
    before = Loop(0.1, 0.1, make)
    before.run(3)
    states = before.kept.states()
    again = Loop(0.1, 0.1, make, states)
    assert again.run(4) == before.run(4)
