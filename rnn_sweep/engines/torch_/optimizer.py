"""Optimisers: from configuration to torch objects, and the checks that need torch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from rnn_sweep.config import OptimizerConfig
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


def still(cls: type[torch.optim.Optimizer]) -> type[torch.optim.Optimizer]:
    """``cls`` with its checks and its groups of parameters, and a ``step`` that does nothing.

    Torch's own ``step``, and what makes and saves those groups, imports torch's compiler: more than a second.
    """
    marked = ("add_param_group", "state_dict", "load_state_dict")
    methods: dict[str, Any] = {name: inspect.unwrap(getattr(cls, name)) for name in marked}
    return type(cls.__name__, (cls,), {**methods, "step": lambda self, closure=None: None})


def build_optimizer(
    config: OptimizerConfig,
    parameters: Sequence[nn.Parameter],
    kind: Callable[[type[torch.optim.Optimizer]], type[torch.optim.Optimizer]] = lambda cls: cls,
) -> torch.optim.Optimizer:
    """Make the optimiser of a network's parameters: of the configured class, or of what ``kind`` makes of that.

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
        return kind(cls)(list(parameters), lr=config.lr, **options)  # type: ignore[call-arg]
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
