"""Optimisers and learning-rate schedules: from configuration to torch objects, and the checks that need torch."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from rnn_sweep.config import OptimizerConfig, SchedulerConfig
from rnn_sweep.errors import UserError, near


def optimizer_class(config: OptimizerConfig) -> type[torch.optim.Optimizer]:
    """Find the ``torch.optim`` class that ``optimizer._target_`` names.

    Raises:
        UserError: there is no such class, or it does not take one of the options.
    """
    name = config.target.removeprefix("torch.optim.")
    classes = {
        n: c
        for n, c in vars(torch.optim).items()
        if isinstance(c, type) and issubclass(c, torch.optim.Optimizer) and c is not torch.optim.Optimizer
    }
    if name not in classes:
        raise UserError(f"optimizer._target_ names no torch.optim class, got {config.target!r}; {near(name, classes)}")
    cls = classes[name]
    accepted = [p for p in inspect.signature(cls).parameters if p != "params"]
    for option in ("lr", *config.options):
        if option not in accepted:
            raise UserError(f"optimizer.{option} is not an argument of {config.target}; {near(option, accepted)}")
    return cls


_ELEMENTWISE = frozenset(
    "Adadelta Adagrad Adam AdamW Adamax ASGD NAdam RAdam RMSprop Rprop SGD".split()  # noqa: SIM905 - reads better
)


def is_elementwise(config: OptimizerConfig) -> bool:
    """Whether the class treats every number alike, so that a network may be given to it as one vector."""
    return config.target.removeprefix("torch.optim.") in _ELEMENTWISE


def build_optimizer(config: OptimizerConfig, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """Make the optimiser of one lane over its parameters.

    The fused implementation is used where the class has one: one call steps all parameters. Any of ``fused``,
    ``foreach``, ``capturable`` or ``differentiable`` given in the configuration turns that choice off.

    Raises:
        UserError: as :func:`optimizer_class`, or the class refuses a value.
    """
    cls = optimizer_class(config)
    options: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config.options.items()}
    chosen = {"fused", "foreach", "capturable", "differentiable"} & options.keys()
    if not chosen and "fused" in inspect.signature(cls).parameters:
        options["fused"] = True
    try:
        return cls(list(parameters), lr=config.lr, **options)  # type: ignore[call-arg]
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"optimizer ({config.target}) refuses its settings: {error}; got {options}") from error


def check_optimizer(config: OptimizerConfig) -> None:
    """Take one step on a toy problem with the shapes that a network has, so that a misfit shows before training.

    Raises:
        UserError: as :func:`build_optimizer`, or the class cannot take a plain ``step()`` on matrices and vectors.
    """
    parameters = [nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2))]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer = build_optimizer(config, parameters)
    try:
        optimizer.step()
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"optimizer._target_={config.target} cannot train this network: {error}") from error


class Schedule:
    """The learning rate of one optimiser over a run, hiding which torch schedules step by batch and which by epoch.

    Args:
        config: which schedule, with its options.
        optimizer: whose learning rate it moves; the configured ``lr`` is the schedule's highest.
        epochs: length of the run.
        steps_per_epoch: batches in an epoch.
    """

    def __init__(
        self, config: SchedulerConfig, optimizer: torch.optim.Optimizer, epochs: int, steps_per_epoch: int
    ) -> None:
        self._optimizer = optimizer
        self._by_batch: lr_scheduler.LRScheduler | None = None
        self._by_epoch: lr_scheduler.LRScheduler | lr_scheduler.ReduceLROnPlateau | None = None
        options: dict[str, Any] = dict(config.options)
        total = epochs * steps_per_epoch
        lr = optimizer.param_groups[0]["lr"]
        if config.name == "onecycle":
            group = optimizer.param_groups[0]
            cycles = "betas" in group or group.get("momentum", 0.0) > 0
            self._by_batch = lr_scheduler.OneCycleLR(
                optimizer, max_lr=lr, total_steps=max(total, 2), cycle_momentum=cycles, **options
            )
        elif config.name == "cosine":
            self._by_batch = lr_scheduler.CosineAnnealingLR(optimizer, T_max=total, eta_min=options["min_lr"])
        elif config.name == "step":
            self._by_epoch = lr_scheduler.StepLR(optimizer, **options)
        elif config.name == "plateau":
            self._by_epoch = lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        self._left = total

    @property
    def lr(self) -> float:
        """Learning rate of the next step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def after_batch(self) -> None:
        """Move on by one optimiser step; the last step of a run has no next."""
        self._left -= 1
        if self._by_batch is not None and self._left > 0:
            self._by_batch.step()

    def after_epoch(self, val_loss: float) -> None:
        """Move on by one epoch; ``val_loss`` is what the plateau schedule watches."""
        if isinstance(self._by_epoch, lr_scheduler.ReduceLROnPlateau):
            self._by_epoch.step(val_loss)
        elif self._by_epoch is not None:
            self._by_epoch.step()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs, plain values only."""
        inner = self._by_batch or self._by_epoch
        return {"left": self._left, "inner": inner.state_dict() if inner is not None else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self._left = state["left"]
        inner = self._by_batch or self._by_epoch
        if inner is not None:
            inner.load_state_dict(state["inner"])
