"""The typed schema: frozen dataclasses, and the names that their fields may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CELLS = ("rnn", "lstm", "gru")
NONLINEARITIES = ("relu", "tanh")
INITS = ("identity", "orthogonal", "chrono", "default")
DEVICES = ("auto", "cpu", "cuda", "mps")
ENGINES = ("auto", "native", "torch")
PRECISIONS = ("fp32", "bf16")
OBJECTIVES = {
    "classification": ("val/accuracy", "val/loss", "train/accuracy", "train/loss", "parameters", "seconds"),
    "regression": ("val/r2", "val/loss", "train/r2", "train/loss", "parameters", "seconds"),
}
"""What a sweep may optimise, by task, and first what it does where nothing is asked for.

The test set is not among them: a search that sees it has no test set left.
"""
TASKS = tuple(OBJECTIVES)

LOSSES = {"classification": ("cross_entropy",), "regression": ("mse", "mae", "huber", "smooth_l1")}
"""Losses by name, by task, and first what is minimised where nothing is asked for."""

METRICS = {
    "classification": ("f1", "precision", "recall", "balanced_accuracy", "top3_accuracy"),
    "regression": ("mae", "rmse"),
}
"""Metrics by name, by task; F1, precision and recall are means over the classes."""

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
    target: str | None = None
    """Dotted path of a module of the user's own in place of all that, ``model._target_`` in YAML."""
    options: tuple[tuple[str, Any], ...] = ()
    """Its arguments, sorted by name; flat keys of the model group in YAML."""


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
    engine: str = "auto"
    """``native`` or ``torch``; ``auto`` is the native one wherever it knows the settings and can be loaded."""
    threads: int | None = None
    """Threads that train; None is all cores of a run alone, which the native engine's results do not depend on. The
    torch engine on a CPU divides its operations among so many, which changes the last bits, and with None it does not.
    """
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
    """Output folder of the run to go on with, or its id in MLflow."""
    restart_schedule: bool = False
    """Where a run is trained further: begin the learning-rate schedule anew over the epochs to come."""


@dataclass(frozen=True)
class Measure:
    """A loss or a metric: a known name, or a class or function of the user's own."""

    target: str
    """Such as ``huber`` or ``mypackage.focal``."""
    options: tuple[tuple[str, Any], ...] = ()
    """Its arguments, sorted by name."""

    @property
    def name(self) -> str:
        """What its figures are called: the last part of the target."""
        return self.target.rpartition(".")[2]


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
    system_metrics: bool = False
    """Record CPU, memory, disk, network and GPUs of the machine while a run goes on."""


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
    """Metrics of :data:`OBJECTIVES`, or of :attr:`metrics`, that a sweep optimises, in the order of its directions."""
    loss: Measure | None = None
    """What training minimises; None is cross-entropy, and the mean squared error of a regression."""
    metrics: tuple[Measure, ...] = ()
    """What is measured beside loss and accuracy (or R²): ``val/NAME`` each epoch, ``test/NAME`` at the end."""
    schedule: str | tuple[Mapping[str, Any], ...] | None = None
    """What settings change to while it is trained, ``{until, set}`` each, or a file with that; see
    :mod:`rnn_sweep.run.schedules`."""
    trial: Mapping[str, Any] | None = None
    """The identity of a sweep's trial; None in a plain run."""
