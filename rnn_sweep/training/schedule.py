"""Learning-rate schedules: torch's own, an epoch at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import lr_scheduler

from rnn_sweep.config import OptimizerConfig, SchedulerConfig
from rnn_sweep.engines.engine import StepSettings
from rnn_sweep.engines.torch_.optimizer import build_optimizer, still


class Schedule:
    """What one optimiser's learning rate is over a run, hiding which torch schedules step by batch and which by epoch.

    Torch's schedules move an optimiser: here one of the configured class that has a single number to train, and never
    does.

    Args:
        config: which schedule, with its options.
        optimizer: whose learning rate it moves; the configured ``lr`` is the schedule's highest.
        epochs: length of the run.
        steps_per_epoch: batches in an epoch.

    Raises:
        UserError: the optimiser refuses its settings.
    """

    def __init__(self, config: SchedulerConfig, optimizer: OptimizerConfig, epochs: int, steps_per_epoch: int) -> None:
        self._optimizer = build_optimizer(optimizer, [nn.Parameter(torch.zeros(1))], still)
        self._group = self._optimizer.param_groups[0]
        self._by_batch: lr_scheduler.LRScheduler | None = None
        self._by_epoch: lr_scheduler.LRScheduler | lr_scheduler.ReduceLROnPlateau | None = None
        self._cycles = False
        """Whether the schedule moves the momentum (of the Adam family β₁), too."""
        options: dict[str, Any] = dict(config.options)
        total = epochs * steps_per_epoch
        if config.name == "onecycle":
            self._cycles = "betas" in self._group or self._group.get("momentum", 0.0) > 0
            self._by_batch = lr_scheduler.OneCycleLR(
                self._optimizer,
                max_lr=self._group["lr"],
                total_steps=max(total, 2),
                cycle_momentum=self._cycles,
                **options,
            )
        elif config.name == "cosine":
            self._by_batch = lr_scheduler.CosineAnnealingLR(self._optimizer, T_max=total, eta_min=options["min_lr"])
        elif config.name == "step":
            self._by_epoch = lr_scheduler.StepLR(self._optimizer, **options)
        elif config.name == "plateau":
            self._by_epoch = lr_scheduler.ReduceLROnPlateau(self._optimizer, **options)
        self._settings, self._lr = repr((config, optimizer)), optimizer.lr
        self._optimizer.step()  # torch's schedules warn where an optimiser never stepped
        self._left, self._steps_per_epoch = total, steps_per_epoch

    def epoch(self) -> StepSettings:
        """Settings of the next epoch's steps; the last step of a run has no next."""
        steps = self._steps_per_epoch
        lr = np.full(steps, self._group["lr"], dtype=np.float64)
        momentum = np.full(steps, self._momentum(), dtype=np.float64) if self._cycles else None
        if self._by_batch is not None:
            for step in range(steps):
                lr[step] = self._group["lr"]
                if momentum is not None:
                    momentum[step] = self._momentum()
                self._left -= 1
                if self._left > 0:
                    self._by_batch.step()
        return StepSettings(lr, momentum)

    def _momentum(self) -> float:
        group = self._group
        return float(group["betas"][0] if "betas" in group else group["momentum"])

    def after_epoch(self, val_loss: float) -> None:
        """Move on by one epoch; ``val_loss`` is what the plateau schedule watches."""
        if isinstance(self._by_epoch, lr_scheduler.ReduceLROnPlateau):
            self._by_epoch.step(val_loss)
        elif self._by_epoch is not None:
            self._by_epoch.step()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs, plain values only."""
        inner = self._by_batch or self._by_epoch
        return {
            "left": self._left,
            "settings": self._settings,
            "lr": self._lr,
            "inner": inner.state_dict() if inner is not None else None,
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`.

        Where its settings have changed since, as they do within a population, it is where it would be by now had it had
        the new ones from the beginning; what a plateau schedule has lowered the rate by is kept.
        """
        if state.get("settings", self._settings) != self._settings:
            self._move_to(state)
            return
        self._left = state["left"]
        self._optimizer.load_state_dict(state["optimizer"])
        self._group = self._optimizer.param_groups[0]  # torch has made another one
        inner = self._by_batch or self._by_epoch
        if inner is not None:
            inner.load_state_dict(state["inner"])

    def _move_to(self, state: dict[str, Any]) -> None:
        done = (self._left - state["left"]) // self._steps_per_epoch if self._by_batch is not None else 0
        for _ in range(done):
            self.epoch()
        inner = state["inner"] or {}
        if isinstance(self._by_epoch, lr_scheduler.ReduceLROnPlateau):
            if "num_bad_epochs" in inner:
                kept = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")
                vars(self._by_epoch).update({key: inner[key] for key in kept})
                (before,) = state["optimizer"]["param_groups"]
                self._group["lr"] *= before["lr"] / state["lr"]
        elif self._by_epoch is not None:
            for _ in range(int(inner.get("last_epoch", 0))):
                self._by_epoch.step()
