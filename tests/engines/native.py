"""Small networks and data for tests of the native engine."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rnn_sweep.config import (
    Config,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    SchedulerConfig,
    TrackingConfig,
    TrainerConfig,
)
from rnn_sweep.data import Dataset
from rnn_sweep.engines.engine import StepSettings
from rnn_sweep.engines.native.engine import NativeEngine
from rnn_sweep.models import ModelSpec, RecurrentNetwork, initialise

CELLS = ["relu", "tanh", "lstm", "gru"]


def spec_for(cell: str, inputs: int, hidden: int, **more: Any) -> ModelSpec:
    plain = cell in ("relu", "tanh")
    return ModelSpec("rnn" if plain else cell, inputs, hidden, nonlinearity=cell if plain else None, **more)


def data(
    count: int,
    steps_: int,
    inputs: int,
    *,
    outputs: int = 10,
    task: str = "classification",
    per_step: bool = False,
    bytes_: bool = True,
) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    shape = (count, steps_, inputs)
    x = (
        torch.randint(256, shape, dtype=torch.uint8, generator=generator)
        if bytes_
        else torch.randn(shape, generator=generator)
    )
    if task == "regression":
        y = torch.randn(count, outputs, generator=generator)
    else:
        y = torch.randint(outputs, shape[:2] if per_step else shape[:1], generator=generator)
    half = max(1, count // 2)
    return Dataset("test", x, y, x[:half], y[:half], x, y, 1 / 255 if bytes_ else 1.0, outputs, task)


def config(
    name: str = "SGD",
    lr: float = 1.0,
    *,
    clip: float | None = None,
    precision: str = "fp32",
    batch: int = 64,
    **options: Any,
) -> Config:
    return Config(
        ModelConfig(),
        OptimizerConfig(f"torch.optim.{name}", lr, options),
        SchedulerConfig(),
        DataConfig(batch_size=batch),
        TrainerConfig(clip_norm=clip, precision=precision),
        TrackingConfig(),
    )


def engine_for(
    spec: ModelSpec, dataset: Dataset, made: Config, threads: int = 1
) -> tuple[NativeEngine, dict[str, Tensor]]:
    engine = NativeEngine(made, spec, dataset, threads=lambda: threads)
    model = RecurrentNetwork(spec)
    initialise(model, spec, 3)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    engine.load_weights(weights)
    return engine, weights


def steps(lr: float, count: int) -> StepSettings:
    return StepSettings(np.full(count, lr), None)


def gradients(spec: ModelSpec, weights: dict[str, Tensor], dataset: Dataset) -> tuple[float, dict[str, Tensor]]:
    """Mean loss over the training part and its gradients, by autograd in double precision."""
    model = RecurrentNetwork(spec).double()
    model.load_state_dict({name: value.double() for name, value in weights.items()})
    answer = model((dataset.x_train.float() * dataset.scale).double())
    if dataset.task == "regression":
        loss = functional.mse_loss(answer, dataset.y_train.double())
    else:
        loss = functional.cross_entropy(answer.flatten(0, -2), dataset.y_train.flatten())
    loss.backward()
    return float(loss.detach()), {name: value.grad for name, value in model.named_parameters()}


def fingerprint(engine: NativeEngine) -> str:
    parts = [tensor.numpy().tobytes() for tensor in engine.weights().values()]
    return hashlib.sha256(b"".join(parts)).hexdigest()
