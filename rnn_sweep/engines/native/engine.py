"""The native engine: one network trained on a CPU by C++ that runs many optimiser steps in one call.

Everything that the library relies on is checked here, before a pointer leaves Python.
"""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnn_sweep.config import Config
from rnn_sweep.data import Dataset
from rnn_sweep.engines.choosing import identity
from rnn_sweep.engines.engine import EpochStats, Measured, Part, StepSettings, Tick, Weights
from rnn_sweep.engines.native import abi
from rnn_sweep.engines.native.layout import Layout
from rnn_sweep.engines.native.library import load
from rnn_sweep.engines.native.pace import Pace
from rnn_sweep.models import ModelSpec


class _Part:
    """Sequences and answers as the library reads them."""

    def __init__(self, x: Tensor, y: Tensor, scale: float, spec: ModelSpec) -> None:
        if x.dtype is not torch.uint8:
            x = x.to(torch.float32)
        self.x, self.y = x.contiguous(), y.to(_answer_type(spec)).contiguous()
        _check_part(self.x, self.y, spec)
        self.variance = float(y.double().var(dim=0, correction=0).mean()) if spec.task == "regression" else None
        self.data = abi.Data(self.x.data_ptr(), self.y.data_ptr(), self.x.dtype is torch.uint8, len(self.x), scale)

    def __len__(self) -> int:
        return len(self.x)

    def score(self, loss: float, hits: float) -> float:
        """Accuracy from the hits, or R² from the mean loss."""
        return hits / len(self) if self.variance is None else 1 - loss / self.variance


def _answer_type(spec: ModelSpec) -> torch.dtype:
    return torch.float32 if spec.task == "regression" else torch.int64


def _check_part(x: Tensor, y: Tensor, spec: ModelSpec) -> None:
    if x.device.type != "cpu" or x.ndim != 3 or len(x) == 0 or x.shape[1] == 0 or x.shape[2] != spec.input_dim:
        raise ValueError(f"x must be [N, T, {spec.input_dim}] on the CPU, got {tuple(x.shape)} on {x.device}")
    tail = [spec.outputs] if spec.task == "regression" else [x.shape[1]] if spec.per_step else []
    if list(y.shape) != [len(x), *tail]:
        raise ValueError(f"y must be {[len(x), *tail]}, got {tuple(y.shape)}")
    if spec.task != "regression" and (int(y.min()) < 0 or int(y.max()) >= spec.outputs):
        raise ValueError(f"labels must be in [0, {spec.outputs}), got {int(y.min())} to {int(y.max())}")


class NativeEngine:
    """See :class:`rnn_sweep.engines.engine.Engine`.

    Args:
        config: of the run; what the engine does not know has been refused by :func:`rnn_sweep.engines.choose`.
        spec: shape of the model.
        dataset: what it is trained and measured on.
        threads: see :class:`~rnn_sweep.engines.engine.Engine`.
    """

    def __init__(self, config: Config, spec: ModelSpec, dataset: Dataset, *, threads: Callable[[], int]) -> None:
        library = load()
        self._library, self._spec, self.threads = library.cdll, spec, threads
        bf16 = config.trainer.precision == "bf16" and library.bf16
        self.identity = identity("native", "bf16" if bf16 else "fp32")
        self._batch = min(config.data.batch_size, len(dataset.x_train))
        self._shape = abi.shape(spec, dataset.steps, self._batch, bf16=bf16, seed=config.seed)
        self._optimizer = abi.optimizer(config.optimizer)
        clip = config.trainer.clip_norm
        self._clip = math.inf if clip is None else clip
        self._dataset = dataset
        self._parts: dict[str, _Part] = {}
        self._sizes = abi.sizes(self._library, self._shape, spec.layers * spec.directions)
        self._layout = Layout(spec, self._sizes)
        self._parameters = torch.zeros(self._layout.size)
        self._gradient = torch.zeros(self._layout.size)
        self._states = [torch.full((self._layout.size,), value) for value in abi.initial_state(config.optimizer)]
        self._done = 0
        self._pace = Pace()
        self._training: tuple[int, Tensor, Tensor] | None = None

    def train_epoch(self, order: Tensor, settings: StepSettings, tick: Tick) -> EpochStats:
        """See :meth:`rnn_sweep.engines.engine.Engine.train_epoch`.

        Raises:
            ValueError: ``order`` or ``settings`` do not fit the training part.
        """
        part = self._part("train")
        count, steps = len(part), -(-len(part) // self._batch)
        order = order.to("cpu", torch.int64).contiguous()
        if order.shape != (count,) or int(order.min()) < 0 or int(order.max()) >= count:
            raise ValueError(f"order must be {count} indices in [0, {count})")
        lr, momentum = _settings(settings, steps)
        call = abi.Training()
        call.shape, call.data, call.optimizer = self._shape, part.data, self._optimizer
        call.parameters, call.gradient = self._parameters.data_ptr(), self._gradient.data_ptr()
        call.state0, call.state1, call.state2 = (state.data_ptr() for state in self._states)
        call.order, call.lr = order.data_ptr(), lr.ctypes.data
        call.momentum = None if momentum is None else momentum.ctypes.data
        call.clip, call.sequences, call.done = self._clip, count, self._done
        over = False
        while call.stats.steps < steps and not over:
            over = self._train_some(call, steps, tick)
        self._done += call.stats.steps
        if over:
            return EpochStats(math.nan, math.nan, math.nan)
        loss = call.stats.loss / count
        return EpochStats(loss, part.score(loss, call.stats.hits), call.stats.norm / steps)

    def _train_some(self, call: abi.Training, steps: int, tick: Tick) -> bool:
        """Train for a tick; returns whether the loss became NaN or infinite."""
        threads = self._pace.threads(self._threads(self._batch))
        if self._training is None or self._training[0] < threads:
            shared = torch.empty(self._sizes.train_shared, dtype=torch.uint8)
            own = torch.empty(threads * self._sizes.train_own, dtype=torch.uint8)
            self._training = threads, shared, own
        _, shared, own = self._training
        call.threads, call.shared, call.own = threads, shared.data_ptr(), own.data_ptr()
        call.own_bytes = self._sizes.train_own
        before = call.stats.steps
        call.until = min(steps, before + self._pace.steps(threads))
        start = time.perf_counter()
        over = bool(self._library.rnn_sweep_train(ctypes.byref(call)))
        done = call.stats.steps - before
        self._pace.took(threads, (time.perf_counter() - start) / max(done, 1))
        tick(done)
        return over

    def evaluate(self, part: Part) -> Measured:
        """See :meth:`rnn_sweep.engines.engine.Engine.evaluate`."""
        data = self._part(part)
        threads = self._threads(len(data))
        chunks = -(-len(data) // self._sizes.chunk)
        shared = torch.empty(max(1, self._sizes.evaluate_shared), dtype=torch.uint8)
        own = torch.empty(threads * self._sizes.evaluate_own, dtype=torch.uint8)
        sums = torch.empty(chunks, 2, dtype=torch.float64)
        call = abi.Evaluation()
        call.shape, call.data, call.parameters = self._shape, data.data, self._parameters.data_ptr()
        call.threads, call.shared, call.own = threads, shared.data_ptr(), own.data_ptr()
        call.own_bytes = self._sizes.evaluate_own
        call.sums = sums.data_ptr()
        self._library.rnn_sweep_evaluate(ctypes.byref(call))
        loss = call.loss / len(data)
        return Measured(loss, data.score(loss, call.hits))

    def weights(self) -> Weights:
        """See :meth:`rnn_sweep.engines.engine.Engine.weights`."""
        return self._layout.named(self._parameters)

    def gradient(self) -> Weights:
        """The latest step's gradient before clipping, by the parameters' names."""
        return self._layout.named(self._gradient)

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """See :meth:`rnn_sweep.engines.engine.Engine.load_weights`."""
        self._parameters.copy_(self._layout.flat(weights))

    def state(self) -> dict[str, Any]:
        """See :meth:`rnn_sweep.engines.engine.Engine.state`."""
        return {"steps": self._done, "optimizer": [self._layout.named(state) for state in self._states]}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """See :meth:`rnn_sweep.engines.engine.Engine.load_state`."""
        self._done = int(state["steps"])
        for own, named in zip(self._states, state["optimizer"], strict=True):
            own.copy_(self._layout.flat(named))

    def _part(self, name: str) -> _Part:
        if name not in self._parts:
            dataset = self._dataset
            x, y = getattr(dataset, f"x_{name}"), getattr(dataset, f"y_{name}")
            self._parts[name] = _Part(x, y, dataset.scale, self._spec)
        return self._parts[name]

    def _threads(self, sequences: int) -> int:
        return max(1, min(self.threads(), -(-sequences // self._sizes.chunk), abi.MOST_THREADS))


def _settings(settings: StepSettings, steps: int) -> tuple[Any, Any]:
    """The settings as contiguous arrays of doubles.

    Raises:
        ValueError: there are not ``steps`` of them.
    """
    lr = np.ascontiguousarray(settings.lr, dtype=np.float64)
    momentum = settings.momentum
    if momentum is not None:
        momentum = np.ascontiguousarray(momentum, dtype=np.float64)
    for array in (lr, momentum):
        if array is not None and array.shape != (steps,):
            raise ValueError(f"settings must have a number for each of {steps} steps, got {array.shape}")
    return lr, momentum
