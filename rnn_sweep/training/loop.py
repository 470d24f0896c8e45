"""The one training loop: lanes of one batched network through epochs. A single run is a population of one lane."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from rnn_sweep.config import Config
from rnn_sweep.data import Dataset
from rnn_sweep.lanes import Batches, LaneNetwork, Share
from rnn_sweep.lanes.dividing import lanes_at_once
from rnn_sweep.lanes.layout import aligned
from rnn_sweep.lanes.precision import Precision
from rnn_sweep.models import ModelSpec, RecurrentNetwork, initialise
from rnn_sweep.training.device import choose_device
from rnn_sweep.training.lane import Entry, Lane, Metrics, Weights
from rnn_sweep.training.optim import is_elementwise

EVALUATION_BATCH = 1024
"""Images at once in validation and test: large enough for the matrix products, small enough for the caches."""

DIVERGENCE_INTERVAL = 16
"""Steps between two looks at whether a loss is still finite."""


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
    )


def width(config: Config) -> int:
    """Hidden units that the run's network is computed with: ``model.hidden_dim``, padded to a multiple of 16.

    Matrix kernels work in blocks of 16 numbers, so that zeros up to the next multiple cost next to nothing, and runs
    of 100 and 112 units can be lanes of one population. The padding is exact, and the same whether a run is trained
    alone or among others. An optimiser that looks at a whole matrix would see the zeros: for it there is none.
    """
    hidden = config.model.hidden_dim
    return aligned(hidden) if is_elementwise(config.optimizer) else hidden


def signature(config: Config) -> Hashable:
    """What runs must agree in to be lanes of one population; all else is each lane's own.

    Raises:
        UserError: the device is not there.
    """
    model, trainer = config.model, config.trainer
    return (
        (model.cell, width(config), model.layers, model.nonlinearity, model.bidirectional),
        model.dropout > 0 and model.layers > 1,
        config.data,
        (trainer.precision, trainer.threads, choose_device(trainer)),
    )


class Population:
    """Lanes of one signature, trained together an epoch at a time; between epochs lanes join and leave.

    Args:
        config: of any run of the signature (see :func:`signature`).
        dataset: what the lanes are trained on.
        device: where they are trained.
        threads: threads that train; None is what ``trainer.threads`` says, or all.
    """

    def __init__(self, config: Config, dataset: Dataset, device: torch.device, *, threads: int | None = None) -> None:
        self.config = config
        # How weights start is each lane's own affair.
        spec = replace(model_spec(config, dataset), init="default", hidden_dim=width(config))
        self.dataset, self.device = dataset, device
        self.batch_size = config.data.batch_size
        precision = cast(Precision, config.trainer.precision)
        self.threads = threads or config.trainer.threads or torch.get_num_threads()
        self.network = LaneNetwork(spec, 0, device=device, precision=precision, threads=self.threads)
        self.train = Batches(dataset.x_train, dataset.y_train, scale=dataset.scale, device=device)
        self.validation = Batches(dataset.x_val, dataset.y_val, scale=dataset.scale, device=device)
        self.test = Batches(dataset.x_test, dataset.y_test, scale=dataset.scale, device=device)
        self.lanes: list[Lane] = []

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch, the last and smaller one included."""
        return -(-len(self.train) // self.batch_size)

    @property
    def most_lanes(self) -> int:
        """Lanes beyond which a thread gains nothing from another one."""
        return self.threads * lanes_at_once(self.network.spec)

    def empty_copy(self) -> Population:
        """A population without lanes that lanes of this one can :meth:`move` to."""
        return Population(self.config, self.dataset, self.device, threads=self.threads)

    def move(self, lanes: Sequence[Lane], to: Population) -> None:
        """Let lanes go on in another population of the same signature."""
        self.network.move([self.lanes.index(lane) for lane in lanes], to.network)
        to.lanes += lanes
        self.lanes = [lane for lane in self.lanes if lane not in lanes]

    def join(self, entry: Entry) -> Lane:
        """Take a run in: with its first weights, or where its checkpoint left it. Writes its first checkpoint.

        A run whose checkpoint says that it was over comes back as such, without a place in the population.

        Raises:
            UserError: the optimiser refuses its settings; nothing was taken in.
            OSError: the checkpoint cannot be written; nothing was taken in.
        """
        spec = model_spec(entry.config, self.dataset)
        if entry.resume is None:
            model = RecurrentNetwork(spec)
            initialise(model, spec, entry.config.seed)
            weights: Weights = model.state_dict()
        else:
            weights = entry.resume["weights"]
        (k,) = self.network.add(1)
        try:
            self.network.load(k, weights, spec.dropout)
            parameters, score = self._parameters(entry.config, k), self.dataset.score
            lane = Lane(entry, spec, parameters, self.steps_per_epoch, self.device, score)
            lane.save(self.weights(k))
        except BaseException:
            self.network.keep(range(k))
            raise
        if lane.over:
            self.network.keep(range(k))
        else:
            self.lanes.append(lane)
        return lane

    def _parameters(self, config: Config, lane: int) -> list[nn.Parameter]:
        """What the lane's optimiser steps: one vector where the arithmetic allows it, for a sixth of the calls."""
        if is_elementwise(config.optimizer):
            return [self.network.flat_parameter(lane)]
        return self.network.parameters(lane)

    def weights(self, lane: int) -> Weights:
        """The current weights of one lane, on the CPU, named as in the readable model's ``state_dict``."""
        return {name: tensor.cpu() for name, tensor in self.network.state(lane).items()}

    def epoch(self) -> list[Lane]:
        """Train and validate every lane for one epoch, and let go of those whose run is over.

        A lane whose loss becomes NaN or infinite has diverged; one whose optimiser, observer or disk raises has
        failed. Neither disturbs the others. A population without a lane that could go on stops at once.

        Returns:
            The lanes that left, each with its ``state`` or ``error``.
        """
        start = time.perf_counter()
        training = self._train()
        trained = time.perf_counter()
        losses, scores = measure(self.network, self.validation)
        finished = time.perf_counter()
        for k, lane in enumerate(self.lanes):
            lane.training_seconds += trained - start
            lane.seconds += finished - start
            metrics = training[k]
            if metrics is not None and torch.isfinite(losses[k]):
                metrics |= {"val/loss": float(losses[k]), f"val/{lane.score}": float(scores[k])}
                metrics["images_per_second"] = len(self.train) / (trained - start)
            else:
                metrics = None
            weights = self.weights(k)
            if metrics is not None:
                lane.see_gradients(weights, self.dataset)
            lane.after_epoch(metrics, weights)
        return self._let_go()

    def _let_go(self) -> list[Lane]:
        over = [lane for lane in self.lanes if lane.over]
        if over:
            staying = [k for k, lane in enumerate(self.lanes) if not lane.over]
            self.network.keep(staying)
            self.lanes = [self.lanes[k] for k in staying]
        return over

    def _train(self) -> list[Metrics | None]:
        """One epoch of optimiser steps for every lane; None for each whose loss became NaN or infinite."""
        shares = self.network.side_by_side(self._train_share)
        return [metrics for share in shares for metrics in share]

    def _train_share(self, share: Share) -> list[Metrics | None]:
        count, lanes = len(self.train), self.lanes[share.lanes]
        variance = self.train.variance
        order = torch.stack([torch.randperm(count, generator=lane.shuffle) for lane in lanes]).to(self.device)
        dropout = [lane.dropout for lane in lanes] if self.network.spec.dropout > 0 else None
        limits = torch.tensor([lane.max_norm for lane in lanes], device=self.device)
        loss_sum = torch.zeros(len(lanes), dtype=torch.float64, device=self.device)
        correct = torch.zeros(len(lanes), dtype=torch.float64, device=self.device)
        norm_sum = torch.zeros(len(lanes), dtype=torch.float64, device=self.device)
        lrs = [lane.schedule.lr for lane in lanes]
        for step, start in enumerate(range(0, count, self.batch_size)):
            index = order[:, start : start + self.batch_size]
            x, y = self.train.gather(index)
            loss, hits = share.forward_backward(x, y, dropout)
            norms = share.grad_norms()
            share.clip_(limits, norms)
            lrs = [lane.schedule.lr for lane in lanes]
            for lane in lanes:
                lane.step()
            loss_sum += loss.double() * index.shape[1]
            correct += hits
            norm_sum += norms
            if all(lane.error is not None for lane in lanes):
                break
            if step % DIVERGENCE_INTERVAL == 0 and not torch.isfinite(loss_sum).any():
                break
        return [
            {
                "train/loss": float(loss_sum[k]) / count,
                f"train/{lane.score}": float(correct[k]) / count
                if variance is None
                else float(1 - loss_sum[k] / count / variance),
                "lr": lrs[k],
                "grad_norm": float(norm_sum[k]) / self.steps_per_epoch,
            }
            if torch.isfinite(loss_sum[k])
            else None
            for k, lane in enumerate(lanes)
        ]


def measure(network: LaneNetwork, batches: Batches) -> tuple[Tensor, Tensor]:
    """Loss and score of every lane on a data set, each ``[K]``: the accuracy, or R² of a regression."""
    loss_sum = torch.zeros(network.lanes, dtype=torch.float64, device=network.device)
    correct = torch.zeros_like(loss_sum)
    count = len(batches)
    for start in range(0, count, EVALUATION_BATCH):
        x, y = batches.slice(start, min(start + EVALUATION_BATCH, count))
        loss, hits = network.evaluate(x, y)
        loss_sum += loss
        correct += hits
    loss = loss_sum / count
    return loss, correct / count if batches.variance is None else 1 - loss / batches.variance
