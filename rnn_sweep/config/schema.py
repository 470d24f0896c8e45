"""The typed schema: frozen dataclasses, and the names that their fields may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CELLS = ("rnn", "lstm", "gru")
NONLINEARITIES = ("relu", "tanh")
INITS = ("identity", "orthogonal", "chrono", "default")
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("fp32", "bf16")
OBJECTIVES = {
    "classification": ("val/accuracy", "val/loss", "train/accuracy", "train/loss", "parameters", "seconds"),
    "regression": ("val/r2", "val/loss", "train/r2", "train/loss", "parameters", "seconds"),
}
"""What a sweep may optimise, by task, and first what it does where nothing is asked for.

The test set is not among them: a search that sees it has no test set left.
"""
TASKS = tuple(OBJECTIVES)

SCHEDULERS: dict[str, dict[str, float]] = {
    "none": {},
    "onecycle": {"pct_start": 0.3, "div_factor": 25.0, "final_div_factor": 1e4},
    "cosine": {"min_lr": 0.0},
    "step": {"step_size": 10, "gamma": 0.1},
    "plateau": {"factor": 0.1, "patience": 3},
}
"""Schedules by name, with their options and defaults; the options are those of the torch classes behind them."""


@dataclass(frozen=True)
class ModelConfig:
    """One recurrent network: stacked cells and a linear head, on the last state or, where the data asks, on each."""

    cell: str = "rnn"
    hidden_dim: int = 128
    layers: int = 1
    nonlinearity: str | None = None
    """``relu`` or ``tanh``, for the plain rnn; None for lstm and gru, whose gates fix it."""
    dropout: float = 0.0
    """Probability in [0, 1), between layers, as in ``torch.nn.RNN``: without effect on one layer."""
    init: str = "default"
    """``default`` (torch's uniform), ``orthogonal``, ``identity`` (rnn only; Le et al. 2015, arXiv:1504.00941), or
    ``chrono`` (lstm and gru only: ``orthogonal``, with gates that begin by remembering; Tallec and Ollivier 2018,
    arXiv:1804.11188)."""
    bidirectional: bool = False
    """A second set of cells in each layer reads the sequence backwards; the next layer, or the head, sees both."""


@dataclass(frozen=True)
class OptimizerConfig:
    """A ``torch.optim`` class and its arguments."""

    target: str
    lr: float
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SchedulerConfig:
    """A learning-rate schedule of :data:`SCHEDULERS` and its options."""

    name: str = "none"
    options: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class DataConfig:
    """Which data, how it is split, and how it is fed."""

    name: str = "mnist"
    task: str = "classification"
    """``classification`` or ``regression``."""
    batch_size: int = 64
    val_size: float = 5000
    """Sequences held out for validation: a count, or a fraction in (0, 1)."""
    limit: int | None = None
    """At most this many sequences in each of train, validation and test."""
    split_seed: int = 0
    """Seed of the train/validation split; apart from ``seed`` so that runs with other seeds stay comparable."""
    dir: str | None = None
    """Cache folder; None is the user's cache."""
    options: tuple[tuple[str, Any], ...] = ()
    """The data set's own settings, sorted by name; flat keys of the data group in YAML (``data.length=200``)."""


@dataclass(frozen=True)
class TrainerConfig:
    """How a run is trained."""

    epochs: int = 10
    device: str = "auto"
    threads: int | None = None
    """Threads of the matrix products; None leaves torch's choice."""
    clip_norm: float | None = 1.0
    """Largest global gradient norm; None is no clipping."""
    patience: int | None = None
    """Epochs without a better validation accuracy before the run ends; None is never."""
    timeout: float | None = None
    """Seconds that a run may train, counted from its start or from where it is resumed; None is no limit."""
    precision: str = "fp32"
    gradients: int | None = None
    """Epoch after which the loss's gradient at the state of each time step is measured and drawn; None is never."""
    resume: str | None = None
    """Output folder of the run to go on with."""


@dataclass(frozen=True)
class TrackingConfig:
    """Where runs are recorded."""

    enabled: bool = True
    uri: str = "sqlite:///mlflow.db"
    experiment: str = "rnn-sweep"
    run_name: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    register: str | None = None
    """Registered model that a run's model, or that of a sweep's best trial, becomes the next version of."""


@dataclass(frozen=True)
class Config:
    """Everything that one run is made from."""

    model: ModelConfig
    optimizer: OptimizerConfig
    scheduler: SchedulerConfig
    data: DataConfig
    trainer: TrainerConfig
    tracking: TrackingConfig
    seed: int = 1
    objective: tuple[str, ...] = ("val/accuracy",)
    """Metrics of :data:`OBJECTIVES` that a sweep optimises, in the order of its directions."""
    trial: Mapping[str, Any] | None = None
    """The identity of a sweep's trial; None in a plain run."""
