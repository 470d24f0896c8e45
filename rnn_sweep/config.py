"""The typed configuration of one run, and the only place that turns composed YAML into it.

``parse`` takes what Hydra composed (or any mapping of the same shape), checks types, ranges and contradictions, and
returns frozen dataclasses. Every later layer reads those; none reads YAML. Checks that need torch or the data
themselves (optimiser arguments, devices, sizes against the data) are made beside the code that uses them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rnn_sweep.errors import UserError, near

CELLS = ("rnn", "lstm", "gru")
NONLINEARITIES = ("relu", "tanh")
INITS = ("identity", "orthogonal", "default")
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("fp32", "bf16")
OBJECTIVES = (
    "val/accuracy",
    "val/loss",
    "train/accuracy",
    "train/loss",
    "parameters",
    "seconds",
)
"""What a sweep may optimise. The test set is not among them: a search that sees it has no test set left."""

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
    """One recurrent classifier: stacked cells and a linear head on the last step."""

    cell: str = "rnn"
    hidden_dim: int = 128
    layers: int = 1
    nonlinearity: str | None = None
    """``relu`` or ``tanh``, for the plain rnn; None for lstm and gru, whose gates fix it."""
    dropout: float = 0.0
    """Probability in [0, 1), between layers, as in ``torch.nn.RNN``: without effect on one layer."""
    init: str = "default"
    """``default`` (torch's uniform), ``orthogonal``, or ``identity`` (rnn only; Le et al. 2015, arXiv:1504.00941)."""


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
    batch_size: int = 64
    val_size: float = 5000
    """Images held out for validation: a count, or a fraction in (0, 1)."""
    limit: int | None = None
    """At most this many images in each of train, validation and test."""
    split_seed: int = 0
    """Seed of the train/validation split; apart from ``seed`` so that runs with other seeds stay comparable."""
    dir: str | None = None
    """Cache folder; None is the user's cache."""


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
    precision: str = "fp32"
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


def parse(cfg: DictConfig | Mapping[str, Any]) -> Config:
    """Turn a composed configuration into a checked :class:`Config`.

    Raises:
        UserError: a key is unknown or missing, or a value has the wrong type, lies out of range or contradicts
            another; the message names the key, the rule and the value received.
    """
    try:
        tree = OmegaConf.to_container(OmegaConf.create(cfg), resolve=True)  # type: ignore[arg-type]
    except OmegaConfBaseException as error:
        raise UserError(f"the configuration cannot be resolved: {str(error).splitlines()[0]}") from error
    if not isinstance(tree, dict):
        raise UserError(f"the configuration must be a mapping, got {type(tree).__name__}")
    root: dict[str, Any] = {str(key): value for key, value in tree.items()}
    known = [f.name for f in dataclasses.fields(Config)]
    _refuse_unknown("", root, known)
    for name in ("model", "optimizer", "scheduler", "data", "trainer", "tracking"):
        if not isinstance(root.get(name), dict):
            raise UserError(f"{name} must be a mapping of settings, got {root.get(name)!r}")
    config = Config(
        model=_section(ModelConfig, "model", root["model"]),
        optimizer=_optimizer(root["optimizer"]),
        scheduler=_scheduler(root["scheduler"]),
        data=_section(DataConfig, "data", root["data"]),
        trainer=_section(TrainerConfig, "trainer", root["trainer"]),
        tracking=_tracking(root["tracking"]),
        seed=_convert("seed", root.get("seed", 1), "int"),
        objective=_objective(root.get("objective", "val/accuracy")),
        trial=_trial(root.get("trial")),
    )
    _check_model(config.model)
    _check_data(config.data)
    _check_trainer(config.trainer)
    _check_seed("seed", config.seed)
    return config


def to_tree(config: Config) -> dict[str, Any]:
    """The inverse of :func:`parse`: plain dicts, lists and scalars, ready for YAML or JSON; ``trial`` is left out."""
    tree = dataclasses.asdict(config)
    tree["optimizer"] = {
        "_target_": config.optimizer.target,
        "lr": config.optimizer.lr,
        **config.optimizer.options,
    }
    tree["scheduler"] = {"name": config.scheduler.name, **config.scheduler.options}
    tree["objective"] = list(config.objective)
    del tree["trial"]
    return tree


# --- conversion -------------------------------------------------------------------------------------------------


def _section(cls: type[Any], prefix: str, node: dict[Any, Any]) -> Any:
    """Build a flat dataclass from a mapping, checking names and types."""
    fields = {f.name: f for f in dataclasses.fields(cls)}
    _refuse_unknown(prefix, node, fields)
    values: dict[str, Any] = {}
    for name, f in fields.items():
        if name not in node:
            if f.default is MISSING and f.default_factory is MISSING:
                raise UserError(f"{prefix}.{name} is missing")
            continue
        values[name] = _convert(f"{prefix}.{name}", node[name], str(f.type))
    return cls(**values)


def _convert(key: str, value: Any, kind: str) -> Any:
    """Convert one scalar to the annotated type ``kind``; integers pass as floats, nothing else is coerced."""
    optional = kind.endswith("| None")
    base = kind.removesuffix("| None").strip()
    if value is None and optional:
        return None
    if base == "bool" and isinstance(value, bool):
        return value
    if base == "int" and isinstance(value, int) and not isinstance(value, bool):
        return value
    if base == "float" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if base == "str" and isinstance(value, str):
        return value
    words = {"bool": "true or false", "int": "an integer", "float": "a number", "str": "a string"}[base]
    raise UserError(f"{key} must be {words}{' or null' if optional else ''}, got {value!r}")


def _refuse_unknown(prefix: str, node: Mapping[Any, Any], known: Sequence[str] | Mapping[str, Any]) -> None:
    for key in node:
        if key not in known:
            full = f"{prefix}.{key}" if prefix else str(key)
            raise UserError(f"{full} is not a setting; {near(str(key), known)}")


def _optimizer(node: dict[Any, Any]) -> OptimizerConfig:
    target = node.get("_target_")
    if not isinstance(target, str) or not target.startswith("torch.optim."):
        raise UserError(f"optimizer._target_ must be a torch.optim class such as torch.optim.Adam, got {target!r}")
    if "lr" not in node:
        raise UserError("optimizer.lr is missing")
    lr = _convert("optimizer.lr", node["lr"], "float")
    if not (math.isfinite(lr) and lr > 0):
        raise UserError(f"optimizer.lr must be a finite number > 0, got {lr!r}")
    decay = node.get("weight_decay", 0.0)
    if not (_convert("optimizer.weight_decay", decay, "float") >= 0 and math.isfinite(decay)):
        raise UserError(f"optimizer.weight_decay must be a finite number >= 0, got {decay!r}")
    options = {str(k): v for k, v in node.items() if k not in ("_target_", "lr")}
    return OptimizerConfig(target=target, lr=lr, options=options)


def _scheduler(node: dict[Any, Any]) -> SchedulerConfig:
    name = node.get("name", "none")
    if name not in SCHEDULERS:
        raise UserError(f"scheduler.name must be a known schedule, got {name!r}; {near(str(name), SCHEDULERS)}")
    defaults = SCHEDULERS[name]
    given = {k: v for k, v in node.items() if k != "name"}
    _refuse_unknown("scheduler", given, defaults)
    options = dict(defaults)
    for key, value in given.items():
        whole = isinstance(defaults[key], int)
        options[key] = _convert(f"scheduler.{key}", value, "int" if whole else "float")
        low = 1 if key == "step_size" else 0
        if not (math.isfinite(options[key]) and options[key] >= low):
            raise UserError(f"scheduler.{key} must be a finite number >= {low}, got {value!r}")
    for key in ("pct_start", "factor"):
        if key in options and not 0 < options[key] < 1:
            raise UserError(f"scheduler.{key} must lie in (0, 1), got {options[key]!r}")
    for key in ("div_factor", "final_div_factor", "gamma"):
        if key in options and not options[key] > 0:
            raise UserError(f"scheduler.{key} must be > 0, got {options[key]!r}")
    return SchedulerConfig(name=name, options=options)


def _tracking(node: dict[Any, Any]) -> TrackingConfig:
    tags = node.get("tags") or {}
    if not isinstance(tags, dict):
        raise UserError(f"tracking.tags must be a mapping of names to strings, got {tags!r}")
    flat = {key: value for key, value in node.items() if key != "tags"}
    section: TrackingConfig = _section(TrackingConfig, "tracking", flat)
    if not section.experiment.strip():
        raise UserError(f"tracking.experiment must not be empty, got {section.experiment!r}")
    if not section.uri.strip():
        raise UserError(f"tracking.uri must not be empty, got {section.uri!r}")
    return dataclasses.replace(section, tags={str(k): str(v) for k, v in tags.items()})


def _objective(value: Any) -> tuple[str, ...]:
    names = value if isinstance(value, list) else [value]
    if not names:
        raise UserError("objective must name at least one metric, got []")
    for name in names:
        if name not in OBJECTIVES:
            raise UserError(f"objective must be a metric of a run, got {name!r}; {near(str(name), OBJECTIVES)}")
    return tuple(names)


def _trial(node: Any) -> Mapping[str, Any] | None:
    if node is None or isinstance(node, dict):
        return node
    raise UserError(f"trial is set by the sweeper; leave it null, got {node!r}")


# --- ranges and contradictions ----------------------------------------------------------------------------------


def _one_of(key: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise UserError(f"{key} must be one of {', '.join(known)}; got {value!r}; {near(value, known)}")


def _at_least(key: str, value: float, low: float) -> None:
    if not (math.isfinite(value) and value >= low):
        raise UserError(f"{key} must be >= {low}, got {value!r}")


def _check_seed(key: str, value: int) -> None:
    if not 0 <= value < 2**63:
        raise UserError(f"{key} must be an integer in [0, 2^63), got {value!r}")


def _check_model(model: ModelConfig) -> None:
    _one_of("model.cell", model.cell, CELLS)
    _at_least("model.hidden_dim", model.hidden_dim, 1)
    _at_least("model.layers", model.layers, 1)
    if not 0 <= model.dropout < 1:
        raise UserError(f"model.dropout must lie in [0, 1), got {model.dropout!r}")
    _one_of("model.init", model.init, INITS)
    if model.cell == "rnn":
        _one_of("model.nonlinearity", str(model.nonlinearity), NONLINEARITIES)
        return
    if model.nonlinearity is not None:
        rule = f"must be null for model.cell={model.cell}, whose gates fix it"
        raise UserError(f"model.nonlinearity {rule}; got {model.nonlinearity!r}")
    if model.init == "identity":
        raise UserError(f"model.init=identity is for model.cell=rnn; got model.cell={model.cell}")


def _check_data(data: DataConfig) -> None:
    _at_least("data.batch_size", data.batch_size, 1)
    if data.val_size <= 0 or (data.val_size >= 1 and data.val_size != int(data.val_size)):
        raise UserError(f"data.val_size must be a count >= 1 or a fraction in (0, 1), got {data.val_size!r}")
    if data.limit is not None:
        _at_least("data.limit", data.limit, 1)
    _check_seed("data.split_seed", data.split_seed)


def _check_trainer(trainer: TrainerConfig) -> None:
    _at_least("trainer.epochs", trainer.epochs, 1)
    device = trainer.device.split(":", 1)[0]
    _one_of("trainer.device", device, DEVICES)
    if trainer.threads is not None:
        _at_least("trainer.threads", trainer.threads, 1)
    if trainer.clip_norm is not None and not (math.isfinite(trainer.clip_norm) and trainer.clip_norm > 0):
        raise UserError(f"trainer.clip_norm must be a finite number > 0 or null, got {trainer.clip_norm!r}")
    if trainer.patience is not None:
        _at_least("trainer.patience", trainer.patience, 1)
    _one_of("trainer.precision", trainer.precision, PRECISIONS)
