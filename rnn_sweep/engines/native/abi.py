"""The structures that cross into the native library, field by field as in ``src``, and how configurations fill them."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rnn_sweep.config import OptimizerConfig
from rnn_sweep.engines.choosing import MOST_STRANDS
from rnn_sweep.models import ModelSpec

MOST_THREADS = 64

_INT, _REAL, _POINTER = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p


def _fields(kind: Any, names: str) -> list[tuple[str, Any]]:
    return [(name, kind) for name in names.split()]


class Shape(ctypes.Structure):
    """``struct Shape`` of network.h."""

    _fields_ = [
        *_fields(_INT, "cell layers directions hidden inputs outputs steps per_step regression bf16 batch"),
        ("dropout_seed", ctypes.c_uint64),
        ("dropout", _REAL),
    ]


class Data(ctypes.Structure):
    """``struct Data`` of passes.h."""

    _fields_ = [("x", _POINTER), ("y", _POINTER), ("bytes", _INT), ("count", _INT), ("scale", _REAL)]


class Optimizer(ctypes.Structure):
    """``struct Optimizer`` of optimizer.h."""

    _fields_ = [
        *_fields(_INT, "kind nesterov amsgrad centered"),
        *_fields(_REAL, "weight_decay momentum dampening beta2 eps alpha lr_decay"),
    ]


class Stats(ctypes.Structure):
    """``struct Stats`` of engine.cpp."""

    _fields_ = [("loss", _REAL), ("hits", _REAL), ("norm", _REAL), ("steps", _INT)]


class Training(ctypes.Structure):
    """``struct Training`` of engine.cpp."""

    _fields_ = [
        ("shape", Shape),
        ("data", Data),
        ("optimizer", Optimizer),
        *_fields(_POINTER, "parameters gradient state0 state1 state2 order lr momentum"),
        ("clip", _REAL),
        *_fields(_INT, "sequences done until threads"),
        ("shared", _POINTER),
        ("own", _POINTER),
        ("own_bytes", _INT),
        ("stats", Stats),
    ]


class Evaluation(ctypes.Structure):
    """``struct Evaluation`` of engine.cpp."""

    _fields_ = [
        ("shape", Shape),
        ("data", Data),
        ("parameters", _POINTER),
        ("threads", _INT),
        ("shared", _POINTER),
        ("own", _POINTER),
        ("own_bytes", _INT),
        ("sums", _POINTER),
        ("loss", _REAL),
        ("hits", _REAL),
    ]


@dataclass(frozen=True)
class Sizes:
    """What ``rnn_sweep_sizes`` answers."""

    train_shared: int
    evaluate_shared: int
    train_own: int
    evaluate_own: int
    """Bytes of workspaces: of all threads together, and of each."""
    parameters: int
    """Numbers of the parameters' vector, the padding included."""
    head: int
    bias: int
    """Offsets of the head's weights and bias."""
    hidden: int
    outputs: int
    """Hidden units and outputs, padded."""
    chunk: int
    """Sequences that are taken through the network together."""
    strands: tuple[int, ...]
    """Offset of each strand's weights: layer by layer, in each the direction forwards first."""


def shape(spec: ModelSpec, steps: int, batch: int, *, bf16: bool, seed: int) -> Shape:
    """The shape of a network that trains on sequences of ``steps`` steps, ``batch`` at a time.

    Raises:
        ValueError: a size is not what the library can take.
    """
    cells = {"lstm": 2, "gru": 3, "rnn": 0 if spec.nonlinearity == "relu" else 1}
    sizes = {"layers": spec.layers, "hidden": spec.hidden_dim, "inputs": spec.input_dim, "outputs": spec.outputs}
    for name, value in {**sizes, "steps": steps, "batch": batch}.items():
        if not 1 <= value < 2**24:
            raise ValueError(f"{name} must be in [1, 2^24), got {value}")
    if spec.layers * spec.directions > MOST_STRANDS:
        raise ValueError(f"layers times directions must be at most {MOST_STRANDS}, got {spec.layers * spec.directions}")
    if not 0 <= spec.dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {spec.dropout}")
    return Shape(
        cell=cells[spec.cell],
        directions=spec.directions,
        steps=steps,
        per_step=spec.per_step,
        regression=spec.task == "regression",
        bf16=bf16,
        batch=batch,
        dropout_seed=seed % 2**64,
        dropout=spec.dropout if spec.layers > 1 else 0.0,
        **sizes,
    )


def sizes(library: ctypes.CDLL, network: Shape, strands: int) -> Sizes:
    """Ask the library for a network's sizes."""
    out = (_INT * (10 + strands))()
    library.rnn_sweep_sizes(ctypes.byref(network), out)
    found: list[int] = list(out)
    shared, reading, own, own_reading, parameters, head, bias, hidden, outputs, chunk = found[:10]
    return Sizes(
        shared, reading, own, own_reading, parameters, head, bias, hidden, outputs, chunk, strands=tuple(found[10:])
    )


KINDS = {"SGD": 0, "Adam": 1, "AdamW": 2, "RMSprop": 3, "Adagrad": 4}
"""Classes of ``torch.optim`` that the library knows."""


def optimizer(config: OptimizerConfig) -> Optimizer:
    """The optimiser with the arguments that ``torch.optim`` gives it where the configuration does not."""
    name = config.target.removeprefix("torch.optim.")
    given: Mapping[str, Any] = config.options
    betas = given.get("betas", (0.9, 0.999))
    return Optimizer(
        kind=KINDS[name],
        nesterov=bool(given.get("nesterov", False)),
        amsgrad=bool(given.get("amsgrad", False)),
        centered=bool(given.get("centered", False)),
        weight_decay=float(given.get("weight_decay", 0.01 if name == "AdamW" else 0.0)),
        momentum=float(betas[0] if name in ("Adam", "AdamW") else given.get("momentum", 0.0)),
        dampening=float(given.get("dampening", 0.0)),
        beta2=float(betas[1]),
        eps=float(given.get("eps", 1e-10 if name == "Adagrad" else 1e-8)),
        alpha=float(given.get("alpha", 0.99)),
        lr_decay=float(given.get("lr_decay", 0.0)),
    )


def initial_state(config: OptimizerConfig) -> tuple[float, float, float]:
    """What the three vectors of an optimiser's state begin with."""
    return float(config.options.get("initial_accumulator_value", 0.0)), 0.0, 0.0
