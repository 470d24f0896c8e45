"""One run's own state within a population: its randomness, optimiser, schedule, curves and best weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rnn_sweep.config import Config
from rnn_sweep.training.optim import Schedule, build_optimizer

Weights = dict[str, Tensor]
Metrics = dict[str, float]


@dataclass
class Best:
    """The epoch whose weights are kept: highest validation accuracy, the lower loss where that ties."""

    epoch: int
    accuracy: float
    loss: float
    weights: Weights

    def beaten_by(self, accuracy: float, loss: float) -> bool:
        """Whether an epoch with these validation figures takes its place."""
        return (accuracy, -loss) > (self.accuracy, -self.loss)


class Lane:
    """What belongs to one run alone, whoever it is trained beside.

    Args:
        config: the run's configuration.
        parameters: the lane's view of the network's parameters.
        steps_per_epoch: batches in an epoch.
        device: where dropout masks are drawn.
    """

    def __init__(
        self, config: Config, parameters: list[nn.Parameter], steps_per_epoch: int, device: torch.device
    ) -> None:
        self.config = config
        self.optimizer = build_optimizer(config.optimizer, parameters)
        self.schedule = Schedule(config.scheduler, self.optimizer, config.trainer.epochs, steps_per_epoch)
        # Two streams, so that turning dropout on does not change the order in which the data is seen.
        self.shuffle = torch.Generator().manual_seed(config.seed)
        self.dropout = torch.Generator(device).manual_seed(config.seed ^ (1 << 62))
        self.history: list[Metrics] = []
        self.best: Best | None = None
        self.seconds = 0.0
        self.training_seconds = 0.0
        self.cause: str | None = None

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return len(self.history)

    @property
    def max_norm(self) -> float:
        """Largest gradient norm allowed; infinity is no clipping."""
        clip = self.config.trainer.clip_norm
        return math.inf if clip is None else clip

    def step(self) -> None:
        """Move the weights along the gradients that the network left in them."""
        self.optimizer.step()
        self.schedule.after_batch()

    def record(self, metrics: Metrics, weights: Weights) -> None:
        """Take in a finished epoch."""
        self.history.append(metrics)
        accuracy, loss = metrics["val/accuracy"], metrics["val/loss"]
        if self.best is None or self.best.beaten_by(accuracy, loss):
            self.best = Best(self.epoch, accuracy, loss, weights)
        self.schedule.after_epoch(loss)

    def done(self) -> bool:
        """Whether the run has had all its epochs, or has waited out its patience."""
        trainer = self.config.trainer
        if self.epoch >= trainer.epochs:
            return True
        waited = self.epoch - self.best.epoch if self.best is not None else 0
        return trainer.patience is not None and waited >= trainer.patience

    def state_dict(self, weights: Weights) -> dict[str, Any]:
        """Everything that going on with this lane takes, ``weights`` being its current ones."""
        return {
            "weights": weights,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "shuffle": self.shuffle.get_state(),
            "dropout": self.dropout.get_state(),
            "history": self.history,
            "best": None if self.best is None else vars(self.best),
            "seconds": self.seconds,
            "training_seconds": self.training_seconds,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`, the weights excepted: those are the network's."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.shuffle.set_state(state["shuffle"])
        self.dropout.set_state(state["dropout"])
        self.history = [dict(row) for row in state["history"]]
        self.best = None if state["best"] is None else Best(**state["best"])
        self.seconds = state["seconds"]
        self.training_seconds = state["training_seconds"]
