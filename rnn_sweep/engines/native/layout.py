"""Where a model's parameters lie in the native engine's vector; ``src/network.h`` decides, this follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from rnn_sweep.engines.engine import Weights
from rnn_sweep.engines.native.abi import Sizes
from rnn_sweep.models import ModelSpec
from rnn_sweep.models.recurrent import GATES

PANEL, GROUP, UNITS = 32, 64, 16
"""Columns of a panel of weights, and of a group of four gates of 16 units each."""

COLUMNS = {"ih": {"lstm": (0, 1, 2, 3), "gru": (1, 2, 3)}, "hh": {"lstm": (0, 1, 2, 3), "gru": (1, 2, 0)}}
"""Place within a group of each of torch's gates: those of a GRU, r, z and n, become v, r, z, u; n is split in two."""


class Layout:
    """Copies parameters between a model's ``state_dict`` and a vector."""

    def __init__(self, spec: ModelSpec, sizes: Sizes) -> None:
        self.size = sizes.parameters
        self._index = dict(_indices(spec, sizes))

    def flat(self, named: Mapping[str, Tensor]) -> Tensor:
        """The vector [P] of the tensors ``named``; what is between them is zero.

        Raises:
            ValueError: names or shapes differ from the model's.
        """
        expected = {name: tuple(index.shape) for name, index in self._index.items()}
        found = {name: tuple(tensor.shape) for name, tensor in named.items()}
        if found != expected:
            raise ValueError(f"weights must have the shapes {expected}, got {found}")
        vector = torch.zeros(self.size)
        for name, index in self._index.items():
            vector[index.flatten()] = named[name].detach().to("cpu", torch.float32).flatten()
        return vector

    def named(self, vector: Tensor) -> Weights:
        """Copies of the parameters in ``vector`` [P], by name."""
        return {name: vector[index.flatten()].view(index.shape) for name, index in self._index.items()}


def _indices(spec: ModelSpec, sizes: Sizes) -> Iterator[tuple[str, Tensor]]:
    """The place in the vector of each number of each parameter, in the order and shape of the ``state_dict``."""
    H, padded = spec.hidden_dim, sizes.hidden
    for strand, offset in enumerate(sizes.strands):
        layer, direction = divmod(strand, spec.directions)
        below = _padded(spec.directions * H, H, padded) if layer else torch.arange(spec.input_dim)
        rows = {"ih": padded + 2 + below, "hh": torch.arange(H)}
        count = padded + 2 + (spec.directions * padded if layer else spec.input_dim)
        end = f"l{layer}" + ("_reverse" if direction else "")
        places = {kind: _columns(spec, kind) for kind in ("ih", "hh")}
        for kind in ("ih", "hh"):
            yield f"rnn.weight_{kind}_{end}", offset + _place(spec, padded, count, rows[kind], places[kind])
        for bias, kind in enumerate(("ih", "hh")):
            row = torch.tensor([padded + bias])
            yield f"rnn.bias_{kind}_{end}", offset + _place(spec, padded, count, row, places[kind]).squeeze(1)
    width = spec.directions * padded
    seen = _padded(spec.directions * H, H, padded)
    outputs = torch.arange(spec.outputs)
    yield "head.weight", sizes.head + _in_panels(seen, outputs, width, sizes.outputs, PANEL)
    yield "head.bias", sizes.bias + outputs


def _padded(count: int, hidden: int, padded: int) -> Tensor:
    """Where the ``count`` outputs of a layer, ``hidden`` of each direction, lie when each direction is padded."""
    units = torch.arange(count)
    return units // hidden * padded + units % hidden


def _columns(spec: ModelSpec, kind: str) -> Tensor:
    """The column of each row of torch's weight matrix."""
    rows = torch.arange(GATES[spec.cell] * spec.hidden_dim)
    if spec.cell == "rnn":
        return rows
    gate, unit = rows // spec.hidden_dim, rows % spec.hidden_dim
    return unit // UNITS * GROUP + torch.tensor(COLUMNS[kind][spec.cell])[gate] * UNITS + unit % UNITS


def _place(spec: ModelSpec, padded: int, count: int, rows: Tensor, columns: Tensor) -> Tensor:
    """Places [columns, rows] within a strand's weights of ``count`` rows."""
    if spec.cell == "rnn":
        return _in_panels(rows, columns, count, padded, PANEL)
    return _in_panels(rows, columns, count, 4 * padded, GROUP)


def _in_panels(rows: Tensor, columns: Tensor, count: int, total: int, panel: int) -> Tensor:
    first = columns // panel * panel
    width = (total - first).clamp(max=panel)
    return (first * count + columns - first).unsqueeze(1) + rows.unsqueeze(0) * width.unsqueeze(1)
