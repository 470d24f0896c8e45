"""What is trained: a network through its epochs, whichever engine computes them."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from rnn_sweep import engines
from rnn_sweep.config import Config
from rnn_sweep.data import Dataset
from rnn_sweep.engines.engine import Measured, Tick, Weights
from rnn_sweep.models import ModelSpec, first
from rnn_sweep.training import gradients
from rnn_sweep.training.schedule import Schedule

Metrics = dict[str, float]


log = logging.getLogger(__name__)


def model_spec(config: Config, dataset: Dataset) -> ModelSpec:
    """The shape of the network that a configuration asks for on a data set."""
    model = config.model
    return ModelSpec(
        cell=model.cell,
        input_dim=dataset.input_dim,
        hidden_dim=model.hidden_dim,
        layers=model.layers,
        nonlinearity=model.nonlinearity,
        dropout=model.dropout,
        init=model.init,
        outputs=dataset.outputs,
        task=dataset.task,
        per_step=dataset.per_step,
        bidirectional=model.bidirectional,
        steps=dataset.steps,
        target=model.target,
        options=dict(model.options),
    )


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


class Training:
    """A network from its first weights through its epochs, whichever engine computes them; ``run.keep`` saves it.

    Call it from threads that divide no operation of torch's (see :func:`~rnn_sweep.training.use_one_thread`): how first
    weights are rounded depends on it. Any one thread may train an epoch at a time.

    Args:
        config: what is trained, and how.
        dataset: what it is trained and measured on.
        threads: asked every few tenths of a second how many threads may be used, the calling one included.

    Raises:
        UserError: the optimiser, device or precision does not fit.
    """

    def __init__(self, config: Config, dataset: Dataset, *, threads: Callable[[], int]) -> None:
        self.config, self.dataset, self.threads = config, dataset, threads
        self.spec, self.score = model_spec(config, dataset), dataset.score
        begun = first(self.spec, config.seed).state_dict()
        self.engine = engines.build(config, self.spec, dataset, threads=threads)
        self.steps_per_epoch = dataset.batches(config.data.batch_size)
        self.schedule = Schedule(config.scheduler, config.optimizer, config.trainer.epochs, self.steps_per_epoch)
        self.horizon = config.trainer.epochs
        """Epoch that the schedule was made for as the last."""
        self.shuffle = torch.Generator().manual_seed(config.seed)
        self.finished = 0
        """Epochs finished."""
        self.best: Best | None = None
        self.gradients: list[float] | None = None
        """Norms of the loss's gradient at each time step after the epoch ``trainer.gradients``."""
        self.seconds = 0.0
        self.training_seconds = 0.0
        self.engine.load_weights(begun)
        self._weights = self.engine.weights()

    @property
    def out_of_patience(self) -> bool:
        """Whether it has not become better for ``trainer.patience`` epochs."""
        waited = self.finished - self.best.epoch if self.best is not None else 0
        return self.config.trainer.patience is not None and waited >= self.config.trainer.patience

    def epoch(self, tick: Tick) -> Metrics | None:
        """Train and validate one epoch.

        Args:
            tick: called every few tenths of a second and at the epoch's end with the optimiser steps since.

        Returns:
            Its metrics; None where the loss has become NaN or infinite.

        Raises:
            Exception: whatever the optimiser or ``tick`` raised.
        """
        shuffled = 0 if self.dataset.streams else len(self.dataset.x_train)  # streams have an order of their own
        order = torch.randperm(shuffled, generator=self.shuffle)
        settings = self.schedule.epoch()
        start = time.perf_counter()
        stats = self.engine.train_epoch(order, settings, tick)
        trained = time.perf_counter()
        measured = self.engine.evaluate("val") if math.isfinite(stats.loss) else Measured(math.nan, math.nan)
        self.training_seconds += trained - start
        self.seconds += time.perf_counter() - start
        if not math.isfinite(measured.loss):
            return None
        self._take_in(measured)
        return {
            "train/loss": stats.loss,
            f"train/{self.score}": stats.score,
            "lr": float(settings.lr[-1]),
            "grad_norm": stats.grad_norm,
            "val/loss": measured.loss,
            f"val/{self.score}": measured.score,
            **{f"val/{name}": value for name, value in measured.more.items()},
            "images_per_second": self.dataset.count("train") / (trained - start),
        }

    def _take_in(self, measured: Measured) -> None:
        """Keep the weights of a finished epoch where they are the best, and move the schedule on."""
        self._weights = self.engine.weights()
        self.finished += 1
        if self.best is None or self.best.beaten_by(measured.score, measured.loss):
            self.best = Best(self.finished, measured.score, measured.loss, self._weights)
        self.schedule.after_epoch(measured.loss)
        if self.finished == self.config.trainer.gradients:
            self.gradients = gradients.of_weights(self.spec, self._weights, self.dataset)

    def state_dict(self) -> dict[str, Any]:
        """Everything that going on takes, in tensors and plain values."""
        return {
            "engine": self.engine.identity,
            "weights": self._weights,
            "engine_state": self.engine.state(),
            "schedule": self.schedule.state_dict(),
            "horizon": self.horizon,
            "shuffle": self.shuffle.get_state(),
            "finished": self.finished,
            "best": None if self.best is None else vars(self.best),
            "gradients": self.gradients,
            "seconds": self.seconds,
            "training_seconds": self.training_seconds,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`; goes on with the engine that trained it.

        Raises:
            UserError: that engine is not to be had.
        """
        settled = engines.settle(self.config, state["engine"])
        if self.engine.identity != state["engine"]:  # what trainer.engine=auto means has changed since
            self.engine = engines.build(settled, self.spec, self.dataset, threads=self.threads)
        self.config = settled
        self.engine.load_weights(state["weights"])
        self.engine.load_state(state["engine_state"])
        self.finished = state["finished"]
        self._load_schedule(state)
        self.shuffle.set_state(state["shuffle"])
        self.best = None if state["best"] is None else Best(**state["best"])
        self.gradients = state["gradients"]
        self.seconds = state["seconds"]
        self.training_seconds = state["training_seconds"]
        self._weights = state["weights"]

    def _load_schedule(self, state: Mapping[str, Any]) -> None:
        """Go on with the schedule, or begin another where the run is trained further and that is asked for."""
        trainer, name = self.config.trainer, self.config.scheduler.name
        if state["horizon"] == trainer.epochs:
            self.schedule.load_state_dict(state["schedule"])
            return
        left = trainer.epochs - self.finished
        if trainer.restart_schedule:
            self.schedule = Schedule(self.config.scheduler, self.config.optimizer, left, self.steps_per_epoch)
            return
        self.horizon = state["horizon"]
        self.schedule.load_state_dict(state["schedule"])
        if name in ("onecycle", "cosine"):
            ends = f"scheduler={name} ends at epoch {self.horizon}, and the learning rate stays as it is then"
            log.info("%s; trainer.restart_schedule=true begins another over the %d epochs to come", ends, left)
