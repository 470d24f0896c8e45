"""The one training loop: lanes of one batched network through epochs. A single run is a population of one lane."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from rnn_sweep.config import Config
from rnn_sweep.data import Dataset
from rnn_sweep.lanes import Batches, LaneNetwork
from rnn_sweep.lanes.precision import Precision
from rnn_sweep.models import ModelSpec, RecurrentClassifier, initialise
from rnn_sweep.training.lane import Lane, Metrics, Weights
from rnn_sweep.training.optim import is_elementwise

EVALUATION_BATCH = 1000
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
        classes=dataset.classes,
    )


class Population:
    """Lanes of one signature, trained together an epoch at a time.

    Args:
        configs: one for each lane; they agree in the model's shape, the data and the batch size.
        dataset: what they are trained on.
        device: where they are trained.
    """

    def __init__(self, configs: Sequence[Config], dataset: Dataset, device: torch.device) -> None:
        first = configs[0]
        self.spec = model_spec(first, dataset)
        self.device = device
        self.batch_size = first.data.batch_size
        precision = cast(Precision, first.trainer.precision)
        threads = first.trainer.threads or torch.get_num_threads()
        self.network = LaneNetwork(self.spec, len(configs), device=device, precision=precision, threads=threads)
        self.train = Batches(dataset.x_train, dataset.y_train, scale=dataset.scale, device=device)
        self.validation = Batches(dataset.x_val, dataset.y_val, scale=dataset.scale, device=device)
        self.lanes = [
            Lane(config, self._parameters(config, k), self.steps_per_epoch, device) for k, config in enumerate(configs)
        ]
        for k, config in enumerate(configs):
            model = RecurrentClassifier(self.spec)
            initialise(model, self.spec, config.seed)
            self.network.load(k, model.state_dict())

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch, the last and smaller one included."""
        return -(-len(self.train) // self.batch_size)

    def _parameters(self, config: Config, lane: int) -> list[nn.Parameter]:
        """What the lane's optimiser steps: one vector where the arithmetic allows it, for a sixth of the calls."""
        if is_elementwise(config.optimizer):
            return [self.network.flat_parameter(lane)]
        return self.network.parameters(lane)

    def weights(self, lane: int) -> Weights:
        """The current weights of one lane, on the CPU, named as in the readable model's ``state_dict``."""
        return {name: tensor.cpu() for name, tensor in self.network.state(lane).items()}

    def epoch(self, on_step: Callable[[], None]) -> list[Metrics | None]:
        """Train and validate every lane for one epoch.

        Args:
            on_step: called after each step of all lanes.

        Returns:
            Each lane's metrics, or None where the lane diverged: its loss became NaN or infinite. A population
            whose lanes have all diverged stops at once. Finished epochs are recorded in the lanes.
        """
        start = time.perf_counter()
        training = self._train(on_step)
        trained = time.perf_counter()
        losses, accuracies = self._validate()
        finished = time.perf_counter()
        results: list[Metrics | None] = []
        for k, lane in enumerate(self.lanes):
            lane.training_seconds += trained - start
            lane.seconds += finished - start
            loss, accuracy = float(losses[k]), float(accuracies[k])
            metrics = training[k]
            if metrics is None or not torch.isfinite(losses[k]):
                lane.cause = f"the loss became NaN or infinite in epoch {lane.epoch + 1}"
                results.append(None)
                continue
            metrics |= {"val/loss": loss, "val/accuracy": accuracy}
            metrics["images_per_second"] = len(self.train) / (trained - start)
            lane.record(metrics, self.weights(k))
            results.append(metrics)
        return results

    def _train(self, on_step: Callable[[], None]) -> list[Metrics | None]:
        count, lanes = len(self.train), self.lanes
        order = torch.stack([torch.randperm(count, generator=lane.shuffle) for lane in lanes]).to(self.device)
        dropout = [lane.dropout for lane in lanes] if self.spec.dropout > 0 else None
        limits = torch.tensor([lane.max_norm for lane in lanes], device=self.device)
        loss_sum = torch.zeros(len(lanes), dtype=torch.float64, device=self.device)
        correct = torch.zeros(len(lanes), dtype=torch.float64, device=self.device)
        norm_sum = torch.zeros(len(lanes), dtype=torch.float64, device=self.device)
        lrs = [lane.schedule.lr for lane in lanes]
        for step, start in enumerate(range(0, count, self.batch_size)):
            index = order[:, start : start + self.batch_size]
            x, y = self.train.gather(index)
            loss, hits = self.network.forward_backward(x, y, dropout)
            norms = self.network.grad_norms()
            self.network.clip_(limits, norms)
            lrs = [lane.schedule.lr for lane in lanes]
            for lane in lanes:
                lane.step()
            loss_sum += loss.double() * index.shape[1]
            correct += hits
            norm_sum += norms
            on_step()
            if step % DIVERGENCE_INTERVAL == 0 and not torch.isfinite(loss_sum).any():
                break
        return [
            {
                "train/loss": float(loss_sum[k]) / count,
                "train/accuracy": float(correct[k]) / count,
                "lr": lrs[k],
                "grad_norm": float(norm_sum[k]) / self.steps_per_epoch,
            }
            if torch.isfinite(loss_sum[k])
            else None
            for k in range(len(lanes))
        ]

    def _validate(self) -> tuple[Tensor, Tensor]:
        """Loss and accuracy of every lane on the validation set, each ``[K]``, averaged per image."""
        loss_sum = torch.zeros(len(self.lanes), dtype=torch.float64, device=self.device)
        correct = torch.zeros_like(loss_sum)
        count = len(self.validation)
        for start in range(0, count, EVALUATION_BATCH):
            x, y = self.validation.slice(start, min(start + EVALUATION_BATCH, count))
            loss, hits = self.network.evaluate(x, y)
            loss_sum += loss
            correct += hits
        return loss_sum / count, correct / count


@torch.inference_mode()
def evaluate(model: RecurrentClassifier, batches: Batches) -> tuple[float, float]:
    """Loss and accuracy of the readable model on a data set, averaged per image."""
    model.eval()
    loss_sum, correct = 0.0, 0
    for start in range(0, len(batches), EVALUATION_BATCH):
        x, y = batches.slice(start, min(start + EVALUATION_BATCH, len(batches)))
        logits = model(x.transpose(0, 1))
        loss_sum += float(torch.nn.functional.cross_entropy(logits, y, reduction="sum"))
        correct += int((logits.argmax(1) == y).sum())
    return loss_sum / len(batches), correct / len(batches)
