"""A recurrent network written to be read: ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM``, and a linear head."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

GATES: dict[str, int] = {"rnn": 1, "gru": 3, "lstm": 4}
"""Row blocks of size ``hidden_dim`` in a weight matrix, in torch's order (GRU: r, z, n; LSTM: i, f, g, o)."""


FEW_INPUTS, MANY_INPUTS = 4, 64
"""Features of a step below and from which the identity start draws its input weights at fixed scales."""


@dataclass(frozen=True)
class ModelSpec:
    """What decides the shape and the starting point of a network. The configuration checks the values."""

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
    outputs: int = 10
    """Classes C, or values D of a regression."""
    task: str = "classification"
    """``classification`` by logits, or ``regression`` by the values themselves."""
    per_step: bool = False
    """One answer for each step of a sequence, rather than one for the whole of it."""
    bidirectional: bool = False
    steps: int = 0
    """Length T of the sequences, which ``init="chrono"`` goes by; a network takes any."""
    target: str | None = None
    """A module of the user's own in place of all that; see :class:`~rnn_sweep.models.custom.CustomNetwork`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Its arguments."""

    @property
    def directions(self) -> int:
        """2 for a bidirectional network, else 1."""
        return 2 if self.bidirectional else 1


class RecurrentNetwork(nn.Module):
    """Recurrent layers, then a linear head: on the last state, or on the state of every step.

    The last state of a bidirectional network is that of both directions, each at its own end of the sequence.

    Its ``state_dict`` has torch's names: ``rnn.weight_ih_l0``, ``rnn.weight_hh_l0``, ``rnn.bias_ih_l0``,
    ``rnn.bias_hh_l0``, … (``rnn.weight_ih_l0_reverse``, … for the second direction) and ``head.weight``, ``head.bias``.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.rnn: nn.RNN | nn.GRU | nn.LSTM
        # nn.RNN warns about dropout with one layer, where it has no effect
        dropout = spec.dropout if spec.layers > 1 else 0.0
        common: dict[str, Any] = {"batch_first": True, "dropout": dropout, "bidirectional": spec.bidirectional}
        if spec.cell == "rnn":
            common["nonlinearity"] = spec.nonlinearity or "tanh"
        recurrent: type[nn.RNN | nn.GRU | nn.LSTM] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[spec.cell]
        self.rnn = recurrent(spec.input_dim, spec.hidden_dim, spec.layers, **common)
        self.head = nn.Linear(spec.directions * spec.hidden_dim, spec.outputs)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Answer sequences ``x`` [N, T, I] float: logits or values [N, outputs], or [N, T, outputs] for each step.

        ``lengths`` [N] integers says how many steps of each there are, where the rest is padding.
        """
        return self.answer(recur(self.rnn, x, lengths), lengths)

    def answer(self, hidden: Tensor, lengths: Tensor | None = None) -> Tensor:
        """What the head makes of the recurrent layers' outputs ``hidden`` [N, T, D H]; see :meth:`forward`."""
        if not self.spec.per_step:
            size = self.spec.hidden_dim
            last = (
                hidden[:, -1] if lengths is None else hidden[torch.arange(len(hidden)), lengths.to(hidden.device) - 1]
            )
            forward, backward = last[:, :size], hidden[:, 0, size:]
            hidden = torch.cat([forward, backward], -1) if self.spec.bidirectional else forward
        answer: Tensor = self.head(hidden)
        return answer


def recur(layers: nn.RNN | nn.GRU | nn.LSTM, x: Tensor, lengths: Tensor | None) -> Tensor:
    """Outputs [N, T, D H] of recurrent layers; those behind a sequence's length are 0, and no state has seen them."""
    if lengths is None:
        outputs: Tensor = layers(x)[0]
        return outputs
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    padded, _ = nn.utils.rnn.pad_packed_sequence(layers(packed)[0], batch_first=True, total_length=x.shape[1])
    return padded


@torch.no_grad()
def initialise(model: RecurrentNetwork, spec: ModelSpec, seed: int) -> None:
    """Draw all weights of ``model`` from a generator of its own; equal seeds give equal weights, bit for bit.

    ``default``: torch's U(-1/√H, 1/√H) for the recurrent layers and the head. ``identity``: the IRNN of Le,
    Jaitly and Hinton, *A Simple Way to Initialize Recurrent Networks of Rectified Linear Units* (2015):
    W_hh = I, zero biases, small Gaussian input weights; rnn only. ``orthogonal``: W_hh orthogonal gate by
    gate (Saxe et al., 2013), W_ih Glorot-uniform gate by gate, zero biases but 1 for the LSTM's forget gate
    (Jozefowicz et al., 2015). ``chrono``: as ``orthogonal``, with gates that start by remembering for 1 to T
    steps, T of ``spec.steps`` (Tallec and Ollivier, *Can Recurrent Neural Networks Warp Time?*, 2018,
    arXiv:1804.11188): a bias b = log(U(1, T - 1)) for the LSTM's forget gate and -b for its input gate, b for
    the GRU's z, which in torch's equations keeps; lstm and gru only.

    Raises:
        ValueError: ``identity`` asked for a gated cell, or ``chrono`` for a plain one.
    """
    if spec.init == "identity" and spec.cell != "rnn":
        raise ValueError(f"init 'identity' is defined for cell 'rnn' only, got cell '{spec.cell}'")
    if spec.init == "chrono" and spec.cell == "rnn":
        raise ValueError("init 'chrono' is defined for cells 'lstm' and 'gru' only, got cell 'rnn'")
    generator = torch.Generator().manual_seed(seed)
    fill = {"default": _default, "identity": _identity, "orthogonal": _orthogonal, "chrono": _chrono}[spec.init]
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
        value.normal_(0.0, _identity_scale(value.shape[1]), generator=generator)
    else:
        value.zero_()


def _identity_scale(inputs: int) -> float:
    """The paper's 0.001 is for a pixel or two a step, hundreds of times; 1/√I keeps the scale of a row of pixels."""
    if inputs < FEW_INPUTS:
        return 0.001
    return 1 / math.sqrt(inputs) if inputs < MANY_INPUTS else 0.02


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


def _chrono(name: str, value: Tensor, spec: ModelSpec, generator: torch.Generator) -> None:
    _orthogonal(name, value, spec, generator)
    if "bias_ih" not in name:
        return
    gates = list(_gates(value, spec))
    bias = torch.empty(spec.hidden_dim).uniform_(1.0, max(spec.steps - 1.0, 1.0), generator=generator).log()
    gates[1].copy_(bias)  # f of the LSTM's i, f, g, o; z of the GRU's r, z, n
    if spec.cell == "lstm":
        gates[0].copy_(-bias)


def _gates(value: Tensor, spec: ModelSpec) -> Iterator[Tensor]:
    return iter(torch.split(value, spec.hidden_dim))
