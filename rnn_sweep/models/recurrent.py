"""A recurrent classifier written to be read: ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM``, and a linear head."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

GATES: dict[str, int] = {"rnn": 1, "gru": 3, "lstm": 4}
"""Row blocks of size ``hidden_dim`` in a weight matrix, in torch's order (GRU: r, z, n; LSTM: i, f, g, o)."""


@dataclass(frozen=True)
class ModelSpec:
    """What decides the shape and the starting point of a classifier. The configuration checks the values."""

    cell: str
    input_dim: int
    """Features of one time step, I ≥ 1."""
    hidden_dim: int
    """Hidden units per layer, H ≥ 1."""
    layers: int = 1
    nonlinearity: str | None = None
    """For the cell ``rnn`` only; None means tanh, as in torch."""
    dropout: float = 0.0
    """Probability in [0, 1) of dropping an output between layers, as in ``nn.RNN``: not after the last."""
    init: str = "default"
    classes: int = 10


class RecurrentClassifier(nn.Module):
    """Sequence classifier: recurrent layers, then a linear head on the top layer's last step.

    Its ``state_dict`` has torch's names: ``rnn.weight_ih_l0``, ``rnn.weight_hh_l0``, ``rnn.bias_ih_l0``,
    ``rnn.bias_hh_l0``, … and ``head.weight``, ``head.bias``.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.rnn: nn.RNN | nn.GRU | nn.LSTM
        # nn.RNN warns about dropout with one layer, where it has no effect
        dropout = spec.dropout if spec.layers > 1 else 0.0
        if spec.cell == "rnn":
            self.rnn = nn.RNN(
                spec.input_dim,
                spec.hidden_dim,
                spec.layers,
                nonlinearity=spec.nonlinearity or "tanh",
                batch_first=True,
                dropout=dropout,
            )
        else:
            recurrent = {"gru": nn.GRU, "lstm": nn.LSTM}[spec.cell]
            self.rnn = recurrent(spec.input_dim, spec.hidden_dim, spec.layers, batch_first=True, dropout=dropout)
        self.head = nn.Linear(spec.hidden_dim, spec.classes)

    def forward(self, x: Tensor) -> Tensor:
        """Classify sequences: ``x`` [N, T, I] float, to logits [N, C]."""
        hidden, _ = self.rnn(x)
        logits: Tensor = self.head(hidden[:, -1])
        return logits


@torch.no_grad()
def initialise(model: RecurrentClassifier, spec: ModelSpec, seed: int) -> None:
    """Draw all weights of ``model`` from a generator of its own; equal seeds give equal weights, bit for bit.

    ``default``: torch's U(-1/√H, 1/√H) for the recurrent layers and the head. ``identity``: the IRNN of Le,
    Jaitly and Hinton, *A Simple Way to Initialize Recurrent Networks of Rectified Linear Units* (2015):
    W_hh = I, zero biases, small Gaussian input weights; rnn only. ``orthogonal``: W_hh orthogonal gate by
    gate (Saxe et al., 2013), W_ih Glorot-uniform gate by gate, zero biases but 1 for the LSTM's forget gate
    (Jozefowicz et al., 2015).

    Raises:
        ValueError: ``identity`` asked for a gated cell.
    """
    if spec.init == "identity" and spec.cell != "rnn":
        raise ValueError(f"init 'identity' is defined for cell 'rnn' only, got cell '{spec.cell}'")
    generator = torch.Generator().manual_seed(seed)
    fill = {"default": _default, "identity": _identity, "orthogonal": _orthogonal}[spec.init]
    for name, parameter in model.named_parameters():
        draw = _default if name.startswith("head.") else fill
        value = torch.empty(parameter.shape, dtype=torch.float32)
        draw(name, value, spec, generator)
        parameter.copy_(value)


def _default(name: str, value: Tensor, spec: ModelSpec, generator: torch.Generator) -> None:
    bound = 1 / math.sqrt(spec.hidden_dim)
    value.uniform_(-bound, bound, generator=generator)


def _identity(name: str, value: Tensor, spec: ModelSpec, generator: torch.Generator) -> None:
    if "weight_hh" in name:
        nn.init.eye_(value)
    elif "weight_ih" in name:
        # The paper's 0.001 is for one pixel a step; 1/√fan-in keeps the scale of a row of pixels.
        value.normal_(0.0, 1 / math.sqrt(value.shape[1]) if value.shape[1] < 64 else 0.02, generator=generator)
    else:
        value.zero_()


def _orthogonal(name: str, value: Tensor, spec: ModelSpec, generator: torch.Generator) -> None:
    if "bias" in name:
        value.zero_()
        if spec.cell == "lstm" and "bias_ih" in name:
            value[spec.hidden_dim : 2 * spec.hidden_dim] = 1.0
        return
    for gate in _gates(value, spec):
        if "weight_hh" in name:
            nn.init.orthogonal_(gate, generator=generator)
        else:
            nn.init.xavier_uniform_(gate, generator=generator)


def _gates(value: Tensor, spec: ModelSpec) -> Iterator[Tensor]:
    return iter(torch.split(value, spec.hidden_dim))
