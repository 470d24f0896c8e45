"""Where each parameter of a lane lives in the flat [K, P] storage, and which names and shapes it has."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor

from rnn_sweep.models.recurrent import GATES, ModelSpec

ALIGNMENT = 16
"""Floats: parameters and matrix rows start on a 64-byte boundary, as cache lines and AVX-512 registers do."""


def aligned(count: int) -> int:
    """Return the smallest multiple of :data:`ALIGNMENT` that holds ``count`` numbers."""
    return -(-count // ALIGNMENT) * ALIGNMENT


def strands(spec: ModelSpec) -> list[tuple[str, int]]:
    """The recurrent layers, each direction on its own, in ``state_dict`` order: name suffix and features of a step."""
    return [
        (f"l{layer}{suffix}", spec.input_dim if layer == 0 else spec.directions * spec.hidden_dim)
        for layer in range(spec.layers)
        for suffix in ("", "_reverse")[: spec.directions]
    ]


def shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Shapes of one lane's parameters, by ``state_dict`` name and in ``state_dict`` order."""
    rows = GATES[spec.cell] * spec.hidden_dim
    result: dict[str, tuple[int, ...]] = {}
    for strand, inputs in strands(spec):
        result[f"rnn.weight_ih_{strand}"] = (rows, inputs)
        result[f"rnn.weight_hh_{strand}"] = (rows, spec.hidden_dim)
        result[f"rnn.bias_ih_{strand}"] = (rows,)
        result[f"rnn.bias_hh_{strand}"] = (rows,)
    result["head.weight"] = (spec.outputs, spec.directions * spec.hidden_dim)
    result["head.bias"] = (spec.outputs,)
    return result


class Layout:
    """Offsets of parameters in a lane's flat vector of ``size`` numbers. The gaps between them stay zero."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec, self.shapes = spec, shapes(spec)
        self.offsets: dict[str, int] = {}
        self.size = 0
        for name, shape in self.shapes.items():
            self.offsets[name] = self.size
            self.size += aligned(math.prod(shape))

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Cut ``flat`` [..., P] into views [..., *shape], by name."""
        return dict(self._cut(flat))

    def part(self, name: str, value: Tensor, hidden: int) -> Tensor:
        """The part of parameter ``name`` that a lane of ``hidden`` ≤ H units uses: a view with more dimensions.

        The units beyond it stay zero, and so do their activations and gradients, in every cell: f(0) = 0 for relu
        and tanh, and a gate lets nothing of a zero through.
        """
        gates, units, directions = GATES[self.spec.cell], self.spec.hidden_dim, self.spec.directions
        if not name.startswith("head."):
            value = value.view(gates, units, *value.shape[1:])[:, :hidden]
        if name.startswith("rnn.weight_hh"):
            return value[..., :hidden]
        if (name.startswith("rnn.weight_ih") and "_l0" not in name) or name == "head.weight":
            return value.view(*value.shape[:-1], directions, units)[..., :hidden]
        return value

    def _cut(self, flat: Tensor) -> Iterator[tuple[str, Tensor]]:
        for name, shape in self.shapes.items():
            part = flat.narrow(-1, self.offsets[name], math.prod(shape))
            yield name, part.view(*flat.shape[:-1], *shape)
