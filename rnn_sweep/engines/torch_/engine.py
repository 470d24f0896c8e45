"""One network trained by autograd, written to be read: the reference of every other engine."""

from __future__ import annotations

import copy
import functools
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from rnn_sweep.config import Config
from rnn_sweep.data import Dataset
from rnn_sweep.engines.choosing import identity
from rnn_sweep.engines.device import choose_device, has_bf16_units, use_threads
from rnn_sweep.engines.engine import EpochStats, Measured, Part, StepSettings, Tick, Weights
from rnn_sweep.engines.torch_.dropout import Layers
from rnn_sweep.engines.torch_.measures import Measures
from rnn_sweep.engines.torch_.optimizer import build_optimizer
from rnn_sweep.models import CustomNetwork, ModelSpec, RecurrentNetwork, network, recur
from rnn_sweep.random_state import random_states, restore_random

log = logging.getLogger(__name__)

TICK_SECONDS = 0.2
"""Between two calls of an epoch's tick."""

DIVERGENCE_INTERVAL = 16
"""Steps between two looks at whether the loss is still finite: a look waits for the device."""

EVALUATED_AT_ONCE, EVALUATED_STATES = 1024, 2**23
"""Sequences that an evaluation takes at once, and the most states of a layer that these may have together."""


class TorchEngine:
    """See :class:`~rnn_sweep.engines.engine.Engine`. Trains what torch can, on any of its devices.

    On a CPU ``trainer.threads`` threads divide each operation, one where that is null: how torch divides an operation
    decides how its sums are rounded, so that no other number of threads may be used. The calling thread keeps the
    setting (see :func:`~rnn_sweep.engines.device.use_threads`).

    Args:
        config: of the run; ``trainer.precision`` may also be ``fp64`` here, for tests.
        spec: shape of the network.
        dataset: what it is trained and measured on; moved to the device part by part.
        threads: not asked, see above.

    Raises:
        UserError: the device is not there, or the optimiser refuses its settings.
    """

    def __init__(self, config: Config, spec: ModelSpec, dataset: Dataset, *, threads: Callable[[], int]) -> None:
        trainer = config.trainer
        self.threads, self.device, self.precision = threads, choose_device(trainer), trainer.precision
        self.identity = identity("torch", self.precision, self.device.type)
        self.spec, self.dataset, self.batch_size = spec, dataset, config.data.batch_size
        self._dtype = torch.float64 if self.precision == "fp64" else torch.float32
        self._sum_dtype = torch.float32 if self.device.type == "mps" else torch.float64  # mps has no other
        self._parts: dict[str, tuple[Tensor, Tensor, Tensor | None]] = {}
        self._operation_threads = (trainer.threads or 1) if self.device.type == "cpu" else None
        self._clip_norm = trainer.clip_norm
        self._model = network(spec).to(self.device, self._dtype)
        self._parameters = list(self._model.parameters())
        self._optimizer = build_optimizer(config.optimizer, self._parameters)
        # Apart from the order of the data, so that turning dropout on does not change it.
        self._dropout = torch.Generator(self.device).manual_seed(config.seed ^ (1 << 62))
        _, y_val, _ = self._part("val")
        tail = (*y_val.shape, spec.outputs) if spec.task != "regression" else y_val.shape
        self._measures = Measures(config, torch.zeros(*tail, device=self.device), y_val, padded=dataset.padded)
        drops = isinstance(self._model, RecurrentNetwork) and spec.dropout > 0 and spec.layers > 1
        self._layers = Layers(self._model, 1 - spec.dropout, self._dropout) if drops else None  # type: ignore[arg-type]
        self._draws = spec.target is not None or dataset.streams is not None
        """Whether a module or a loader of the user's own may draw from the process's generators while it trains."""
        if self._draws:
            torch.manual_seed(config.seed ^ (1 << 62))
        if self.device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = False  # of the whole process: fp32 is fp32 on every device
        if self.precision == "bf16" and self.device.type == "cpu" and not has_bf16_units():
            _say_that_bf16_is_slow()

    def train_epoch(self, order: Tensor, settings: StepSettings, tick: Tick) -> EpochStats:
        """See :meth:`Engine.train_epoch <rnn_sweep.engines.engine.Engine.train_epoch>`."""
        self._use_threads()
        sums = torch.zeros(3, dtype=self._sum_dtype, device=self.device)  # of losses, right answers, gradient norms
        clock = _Clock(tick)
        steps, total = 0, torch.zeros((), dtype=torch.int64, device=self.device)
        for x, y, lengths in self._training_batches(order):
            self._set(settings, steps)
            answer = self._forward(self._scaled(x), lengths, drop=True)
            loss = self._measures.loss(answer, y)
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            norm = self._clip()
            self._optimizer.step()
            right, count = self._measures.right(answer.detach(), y), self._measures.count(y)
            total += count
            sums += torch.stack([loss.detach().to(sums) * count, right, norm])
            clock.step()
            if steps % DIVERGENCE_INTERVAL == 0 and not sums[0].isfinite():
                break
            steps += 1
        clock.end()
        loss_sum, right, norms = sums.tolist()
        mean, share = loss_sum / float(total), right / float(total)
        return EpochStats(mean, self._score("train", mean, share), norms / max(steps, 1))

    @torch.no_grad()
    def evaluate(self, part: Part) -> Measured:
        """See :meth:`Engine.evaluate <rnn_sweep.engines.engine.Engine.evaluate>`."""
        self._use_threads()
        sums = torch.zeros(2, dtype=self._sum_dtype, device=self.device)
        total = torch.zeros((), dtype=torch.int64, device=self.device)
        answers: list[Tensor] = []
        wanted: list[Tensor] = []
        for x, y, lengths in self._measured_batches(part):
            answer = self._forward(self._scaled(x), lengths, drop=False).to(self._sum_dtype)
            count = self._measures.count(y)
            total += count
            sums += torch.stack([self._measures.loss(answer, y) * count, self._measures.right(answer, y)])
            if self._measures.kept:
                answers.append(answer.cpu())
                wanted.append(y.cpu())
        loss_sum, right = sums.tolist()
        mean, share = loss_sum / float(total), right / float(total)
        more = self._measures.more(torch.cat(answers), torch.cat(wanted)) if answers else {}
        return Measured(mean, self._score(part, mean, share), more)

    def weights(self) -> Weights:
        """Copies of the current parameters, on the CPU."""
        return {name: value.to("cpu", copy=True) for name, value in self._model.state_dict().items()}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Set the parameters.

        Raises:
            ValueError: names or shapes differ from those of the model.
        """
        try:
            self._model.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(str(error)) from error

    def state(self) -> dict[str, Any]:
        """A copy of the optimiser's state, and that of the generator of dropout masks."""
        optimizer = copy.deepcopy(self._optimizer.state_dict())
        state: dict[str, Any] = {"optimizer": optimizer, "dropout": self._dropout.get_state()}
        if self._draws:
            state["random"] = random_states()
        if self.dataset.streams is not None:
            state["streams"] = {part: stream.state_dict() for part, stream in self.dataset.streams.items()}
        return state

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        # Settings are the configuration's, which may have changed since; what a schedule moves is set with each step.
        own = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({**copy.deepcopy(state["optimizer"]), "param_groups": own})
        self._dropout.set_state(state["dropout"])
        if "random" in state:
            restore_random(state["random"])
        for part, stream in (self.dataset.streams or {}).items():
            stream.load_state_dict(state["streams"][part])

    def _use_threads(self) -> None:
        if self._operation_threads not in (None, torch.get_num_threads()):
            use_threads(self._operation_threads)

    def _training_batches(self, order: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Sequences and targets on the device, lengths on the CPU: the training part in an order, or a stream's own."""
        if self.dataset.streams is not None:
            yield from self._streamed("train")
            return
        x, y, lengths = self._part("train")
        for index in torch.split(order.to(self.device), self.batch_size):
            yield x[index], y[index], None if lengths is None else lengths[index.cpu()]

    def _measured_batches(self, part: Part) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """The same of a part that is measured, as many at once as have room."""
        if self.dataset.streams is not None:
            yield from self._streamed(part)
            return
        x, y, lengths = self._part(part)
        states = x.shape[1] * self.spec.hidden_dim * self.spec.directions
        at_once = max(1, min(EVALUATED_AT_ONCE, EVALUATED_STATES // states))
        for start in range(0, len(x), at_once):
            some = slice(start, start + at_once)
            yield x[some], y[some], None if lengths is None else lengths[some]

    def _streamed(self, part: str) -> Iterator[tuple[Tensor, Tensor, None]]:
        for x, y in (self.dataset.streams or {})[part].read():
            yield x.to(self.device), y.to(self.device), None

    def _part(self, name: str) -> tuple[Tensor, Tensor, Tensor | None]:
        """Sequences (bytes where they are bytes) and answers of a part, on the device; its lengths, on the CPU."""
        if name not in self._parts:
            x, y, lengths = (getattr(self.dataset, f"{what}_{name}") for what in ("x", "y", "lengths"))
            self._parts[name] = x.to(self.device), y.to(self.device), lengths
        return self._parts[name]

    def _scaled(self, x: Tensor) -> Tensor:
        return x.to(self._dtype) * self.dataset.scale

    def _forward(self, x: Tensor, lengths: Tensor | None, *, drop: bool) -> Tensor:
        """Answers to ``x`` [N, T, I] of ``lengths`` [N]; the head's products are never in bf16."""
        if isinstance(self._model, CustomNetwork):
            self._model.train(drop)
            with self._autocast():
                return self._model(x, lengths).to(self._dtype)  # type: ignore[no-any-return]
        with self._autocast():
            layers = self._layers
            hidden = recur(self._model.rnn, x, lengths) if layers is None else layers(x, lengths, drop=drop)
        return self._model.answer(hidden.to(self._dtype), lengths)

    def _autocast(self) -> AbstractContextManager[None]:
        """Products and activations in bf16, of weights in fp32, where that is the precision."""
        if self.precision != "bf16":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def _set(self, settings: StepSettings, step: int) -> None:
        """Give the optimiser what the schedule has for a step."""
        for group in self._optimizer.param_groups:
            group["lr"] = float(settings.lr[step])
            if settings.momentum is not None:
                momentum = float(settings.momentum[step])
                if "betas" in group:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum

    def _clip(self) -> Tensor:
        """Scale the gradient down to the norm allowed; returns its 2-norm before."""
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self._clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self._parameters, self._clip_norm, norm)
        return norm

    def _score(self, part: str, loss: float, accuracy: float) -> float:
        """Accuracy; of a regression R² = 1 - squared error / variance of the targets, the mean over their D values."""
        if self.spec.task != "regression":
            return accuracy
        loss = loss if self._measures.usual else accuracy
        if self.dataset.streams is not None:
            return 1 - loss / self.dataset.streams[part].variance
        targets: Tensor = getattr(self.dataset, f"y_{part}")
        return 1 - loss / float(targets.double().var(dim=0, correction=0).mean())


class _Clock:
    """Calls an epoch's tick every :data:`TICK_SECONDS` with the steps since the last time."""

    def __init__(self, tick: Tick) -> None:
        self._tick, self._steps, self._last = tick, 0, time.monotonic()

    def step(self) -> None:
        self._steps += 1
        if time.monotonic() - self._last >= TICK_SECONDS:
            self.end()

    def end(self) -> None:
        if self._steps:
            self._tick(self._steps)
        self._steps, self._last = 0, time.monotonic()


@functools.cache
def _say_that_bf16_is_slow() -> None:
    log.warning("trainer.precision=bf16: this CPU has no units for bfloat16, so that training is slower than with fp32")
