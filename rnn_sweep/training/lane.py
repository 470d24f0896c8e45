"""One run's own state within a population: its randomness, optimiser, schedule, curves and best weights."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rnn_sweep.config import Config, to_tree
from rnn_sweep.data import Dataset
from rnn_sweep.models import ModelSpec
from rnn_sweep.outcome import State
from rnn_sweep.training import checkpoint, gradients
from rnn_sweep.training.optim import Schedule, build_optimizer

log = logging.getLogger(__name__)

Weights = dict[str, Tensor]
Metrics = dict[str, float]


class Observer:
    """What a run tells while it trains; every method may be overridden. What one raises ends its own run only."""

    def step(self) -> None:
        """Called after each optimiser step."""

    def epoch(self, epoch: int, metrics: Metrics) -> bool:
        """Called with the metrics of each finished epoch, counted from 1. False ends the run as pruned."""
        return True

    def stop(self) -> bool:
        """Asked after each epoch: True ends the run as interrupted, to be resumed later."""
        return False


@dataclass(frozen=True)
class Entry:
    """What a run brings to the population that trains it."""

    config: Config
    folder: Path
    """Where the checkpoint of each epoch and the best weights go."""
    observer: Observer = field(default_factory=Observer)
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Plain values kept in every checkpoint for whoever resumes the run."""
    resume: Mapping[str, Any] | None = None
    """A checkpoint's content, to go on from."""


@dataclass
class Best:
    """The epoch whose weights are kept: highest validation score, the lower loss where that ties."""

    epoch: int
    score: float
    loss: float
    weights: Weights

    def beaten_by(self, score: float, loss: float) -> bool:
        """Whether an epoch with these validation figures takes its place."""
        return (score, -loss) > (self.score, -self.loss)


class Lane:
    """What belongs to one run alone, whoever it is trained beside.

    Args:
        entry: the run.
        spec: shape of its model.
        parameters: the lane's view of the network's parameters.
        steps_per_epoch: batches in an epoch.
        device: where dropout masks are drawn.
        score: name of the metric, after ``val/``, that the best weights have most of.
    """

    def __init__(
        self,
        entry: Entry,
        spec: ModelSpec,
        parameters: list[nn.Parameter],
        steps_per_epoch: int,
        device: torch.device,
        score: str,
    ) -> None:
        config = entry.config
        self.entry, self.config, self.spec, self.score = entry, config, spec, score
        self.optimizer = build_optimizer(config.optimizer, parameters)
        self.schedule = Schedule(config.scheduler, self.optimizer, config.trainer.epochs, steps_per_epoch)
        # Two streams, so that turning dropout on does not change the order in which the data is seen.
        self.shuffle = torch.Generator().manual_seed(config.seed)
        self.dropout = torch.Generator(device).manual_seed(config.seed ^ (1 << 62))
        self.history: list[Metrics] = []
        self.best: Best | None = None
        self.gradients: list[float] | None = None
        """Norms of the loss's gradient at each time step after the epoch ``trainer.gradients``."""
        self.seconds = 0.0
        self.training_seconds = 0.0
        self.state: State | None = None
        """How the run ended; None while it goes on."""
        self.cause: str | None = None
        self.error: Exception | None = None
        """What its optimiser, schedule, observer or disk raised: the run is over, without an outcome."""
        if entry.resume is not None:
            self._go_on_from(entry.resume)
        self._end_if_done()

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return len(self.history)

    @property
    def max_norm(self) -> float:
        """Largest gradient norm allowed; infinity is no clipping."""
        clip = self.config.trainer.clip_norm
        return math.inf if clip is None else clip

    @property
    def over(self) -> bool:
        """Whether the run has ended, one way or the other."""
        return self.state is not None or self.error is not None

    def step(self) -> None:
        """Move the weights along the gradients that the network left in them."""
        if self.error is not None:
            return
        try:
            self.optimizer.step()
            self.schedule.after_batch()
            self.entry.observer.step()
        except Exception as error:  # whatever it is, it is this run's alone
            self.error = error

    def after_epoch(self, metrics: Metrics | None, weights: Weights) -> None:
        """Take in an epoch, tell the observer, write the checkpoint, and see whether the run is over.

        Args:
            metrics: the epoch's figures, or None where the loss became NaN or infinite.
            weights: the current ones, on the CPU.
        """
        if self.error is not None:
            return
        if metrics is None:
            self.end(State.DIVERGED, f"the loss became NaN or infinite in epoch {self.epoch + 1}")
            return
        try:
            self._record(metrics, weights)
            keep = self.entry.observer.epoch(self.epoch, metrics)
            self._save_if_possible(weights)
            if not keep:
                self.end(State.PRUNED, f"pruned after epoch {self.epoch}")
            self._end_if_done()
            if self.state is None and self.entry.observer.stop():
                self.end(State.INTERRUPTED, f"interrupted after epoch {self.epoch}")
        except Exception as error:  # whatever it is, it is this run's alone
            self.error = error

    def see_gradients(self, weights: Weights, dataset: Dataset) -> None:
        """Measure the gradients of ``weights`` where the epoch about to be taken in is ``trainer.gradients``."""
        if self.error is not None or self.epoch + 1 != self.config.trainer.gradients:
            return
        try:
            self.gradients = gradients.of_weights(self.spec, weights, dataset)
        except Exception as error:  # whatever it is, it is this run's alone
            self.error = error

    def end(self, state: State, cause: str | None = None) -> None:
        """Declare the run ended."""
        self.state, self.cause = state, cause

    def _record(self, metrics: Metrics, weights: Weights) -> None:
        self.history.append(metrics)
        score, loss = metrics[f"val/{self.score}"], metrics["val/loss"]
        if self.best is None or self.best.beaten_by(score, loss):
            self.best = Best(self.epoch, score, loss, weights)
        self.schedule.after_epoch(loss)

    def _end_if_done(self) -> None:
        """End a run that has had all its epochs, or has waited out its patience."""
        trainer = self.config.trainer
        waited = self.epoch - self.best.epoch if self.best is not None else 0
        out_of_patience = trainer.patience is not None and waited >= trainer.patience
        if self.state is None and (self.epoch >= trainer.epochs or out_of_patience):
            self.end(State.COMPLETE)

    def _save_if_possible(self, weights: Weights) -> None:
        """A disk that is full for a while costs checkpoints, and not the run."""
        try:
            self.save(weights)
        except OSError as error:
            log.warning("no checkpoint of epoch %d: %s", self.epoch, error)

    def save(self, weights: Weights) -> None:
        """Write the run's checkpoint, ``weights`` being the current ones."""
        fixed = {"config": to_tree(self.config), **self.entry.notes}
        checkpoint.save(self.entry.folder, {**fixed, **self.state_dict(weights)})

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
            "gradients": self.gradients,
            "seconds": self.seconds,
            "training_seconds": self.training_seconds,
        }

    def _go_on_from(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`, the weights excepted: those are the network's."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.shuffle.set_state(state["shuffle"])
        self.dropout.set_state(state["dropout"])
        self.history = [dict(row) for row in state["history"]]
        self.best = None if state["best"] is None else Best(**state["best"])
        self.gradients = state["gradients"]
        self.seconds = state["seconds"]
        self.training_seconds = state["training_seconds"]
