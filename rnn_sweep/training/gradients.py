"""How far back learning reaches: the size of the loss's gradient at each time step.

The recurrent state s_t is what one step hands to the next: h of every layer, and for an LSTM c as well. By the chain
rule

    ∂ℓ/∂s_t = (∂s_{t+1}/∂s_t)ᵀ ⋯ (∂s_T/∂s_{T-1})ᵀ ∂ℓ/∂s_T,

a product of T - t Jacobians, which shrinks or grows exponentially in T - t where their norms stay below or above 1
(Bengio, Simard and Frasconi, *Learning long-term dependencies with gradient descent is difficult*, 1994; Pascanu,
Mikolov and Bengio, *On the difficulty of training recurrent neural networks*, 2013, arXiv:1211.5063).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from rnn_sweep.data import Dataset
from rnn_sweep.files import GRADIENTS_FILE
from rnn_sweep.models import ModelSpec, RecurrentNetwork

"""In the run's output folder: the ``epoch`` after which was measured, and the ``norms``, one for each time step."""

MOST_SEQUENCES = 256
"""Validation sequences that are enough for a picture."""


@torch.enable_grad()
def gradient_norms(model: RecurrentNetwork, x: Tensor, y: Tensor) -> list[float]:
    """Size of the gradient of the loss at the state of each time step; draws no random number.

    Computed in double precision, so that what has vanished is told from zero.

    Args:
        model: one that reads forwards only; it is left in evaluation mode and double precision.
        x: sequences [N, T, I].
        y: labels [N], or of each step [N, T], integers; or values [N, D], floating point.

    Returns:
        T numbers: the root mean square over the sequences of ‖∂ℓ/∂s_t‖, ℓ being the loss of one sequence.
    """
    model = model.double().eval()
    states: list[tuple[Tensor, ...]] = []
    state = None
    for t in range(x.shape[1]):
        _, state = model.rnn(x[:, t : t + 1].double(), state)
        states.append(state if isinstance(state, tuple) else (state,))
    tops = [parts[0][-1] for parts in states]  # [N, H] each
    each = not y.is_floating_point() and y.ndim == 2
    answer = model.head(torch.stack(tops, 1) if each else tops[-1])
    flat = [part for parts in states for part in parts]
    grads = torch.autograd.grad(_loss(answer, y), flat, materialize_grads=True)
    squares = torch.stack([grad.square().sum((0, 2)) for grad in grads])  # [T * parts, N]
    return squares.view(len(states), -1, len(x)).sum(1).mean(1).sqrt().tolist()


def of_weights(spec: ModelSpec, weights: Mapping[str, Tensor], dataset: Dataset) -> list[float]:
    """As :func:`gradient_norms`, of a network with ``weights`` on the first validation sequences."""
    model = RecurrentNetwork(spec)
    model.load_state_dict(weights)
    x, y = dataset.x_val[:MOST_SEQUENCES], dataset.y_val[:MOST_SEQUENCES]
    return gradient_norms(model, x * dataset.scale, y)


def _loss(answer: Tensor, y: Tensor) -> Tensor:
    """The sum of the sequences' losses."""
    if y.is_floating_point():
        return functional.mse_loss(answer, y.double(), reduction="none").mean(1).sum()
    steps = y.shape[1] if y.ndim == 2 else 1
    return functional.cross_entropy(answer.flatten(0, -2), y.flatten(), reduction="sum") / steps


def write(folder: Path, epoch: int | None, norms: Sequence[float]) -> Path:
    """Write :data:`GRADIENTS_FILE` into a run's folder; a norm that is NaN or infinite becomes null."""
    content = {"epoch": epoch, "norms": [norm if math.isfinite(norm) else None for norm in norms]}
    path = folder / GRADIENTS_FILE
    path.write_text(json.dumps(content) + "\n")
    return path
