"""A network of the user's own: any module that answers sequences [B, T, I]."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rnn_sweep.config.targets import arguments, resolve
from rnn_sweep.errors import UserError
from rnn_sweep.models.recurrent import ModelSpec

KEY = "model._target_"


class CustomNetwork(nn.Module):
    """The module that ``spec.target`` names, built with ``spec.options`` and, where it takes them, the data's sizes.

    The global generator is left as it was: what it draws for first weights is decided by ``seed``.

    Raises:
        UserError: it cannot be built, or is no module.
    """

    def __init__(self, spec: ModelSpec, seed: int = 0) -> None:
        super().__init__()
        self.spec = spec
        offered = {"input_dim": spec.input_dim, "outputs": spec.outputs, "steps": spec.steps}
        target = resolve(KEY, spec.target)
        taken = arguments("model", str(spec.target), target, spec.options, offered)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                network = target(**taken)
            except Exception as error:  # the user's own code
                shown = ", ".join(f"{key}={value!r}" for key, value in taken.items())
                reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
                raise UserError(f"{KEY}={spec.target} cannot be built with {shown}: {reason}") from error
        if not isinstance(network, nn.Module):
            raise UserError(f"{KEY} must make a torch.nn.Module, got {type(network).__name__} of {spec.target}")
        if not any(parameter.requires_grad for parameter in network.parameters()):
            raise UserError(f"{KEY} must make a module with parameters to train, got none of {spec.target}")
        self.network = network
        self.takes_lengths = "lengths" in inspect.signature(network.forward).parameters
        """Whether ``forward(x, lengths)`` is told how many steps of each sequence there are."""

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Answer sequences [N, T, I]: logits or values [N, outputs], or [N, T, outputs] for each step."""
        answer: Tensor = self.network(x, lengths=lengths) if self.takes_lengths else self.network(x)
        return answer


@torch.no_grad()
def check_answers(model: CustomNetwork) -> None:
    """Check that a network answers what it will be asked. Raises :class:`UserError`."""
    spec = model.spec
    x = torch.zeros(2, spec.steps, spec.input_dim)
    wanted = [2, spec.steps, spec.outputs] if spec.per_step else [2, spec.outputs]
    asked = f"{KEY}={spec.target} must answer sequences {list(x.shape)} with {wanted}"
    training = model.training
    with torch.random.fork_rng(devices=[]):
        try:
            answer = model.eval()(x, torch.full((2,), spec.steps))
        except Exception as error:  # the user's own code
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            raise UserError(f"{asked}, got {reason}") from error
        finally:
            model.train(training)
    if not isinstance(answer, Tensor) or list(answer.shape) != wanted:
        got = list(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        raise UserError(f"{asked}, got {got}")


def check_target(target: str, options: Mapping[str, Any]) -> None:
    """Check a module's name and arguments as far as that can be done without data. Raises :class:`UserError`."""
    found = resolve(KEY, target)
    arguments("model", target, found, options, dict.fromkeys(("input_dim", "outputs", "steps")))
    if isinstance(found, type) and not issubclass(found, nn.Module):
        raise UserError(f"{KEY} must be a torch.nn.Module, or a function that makes one, got {target}")
