"""From composed YAML to the schema and back."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rnn_sweep.config.measures import loss, measure_tree, measures
from rnn_sweep.config.ranges import check_data, check_gradients, check_model, check_seed, check_trainer
from rnn_sweep.config.schema import (
    LOSSES,
    METRICS,
    OBJECTIVES,
    SCHEDULERS,
    Config,
    DataConfig,
    Measure,
    ModelConfig,
    OptimizerConfig,
    SchedulerConfig,
    TrackingConfig,
    TrainerConfig,
)
from rnn_sweep.errors import UserError, near


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
    data = _data(root["data"])
    check_data(data)
    more = measures("metrics", root.get("metrics"), METRICS[data.task])
    config = Config(
        model=_model(root["model"]),
        optimizer=_optimizer(root["optimizer"]),
        scheduler=_scheduler(root["scheduler"]),
        data=data,
        trainer=_section(TrainerConfig, "trainer", root["trainer"]),
        tracking=tracking_config(root["tracking"]),
        seed=_convert("seed", root.get("seed", 1), "int"),
        objective=_objective(root.get("objective"), data.task, more),
        loss=loss(root.get("loss"), LOSSES[data.task]),
        metrics=more,
        schedule=_schedule(root.get("schedule")),
        trial=trial_identity(root.get("trial")),
    )
    check_model(config.model)
    check_trainer(config.trainer)
    check_gradients(config)
    check_seed("seed", config.seed)
    return config


def to_tree(config: Config) -> dict[str, Any]:
    """The inverse of :func:`parse`: plain dicts, lists and scalars, ready for YAML or JSON; ``trial`` is left out."""
    tree = dataclasses.asdict(config)
    tree["optimizer"] = {
        "_target_": config.optimizer.target,
        "lr": config.optimizer.lr,
        **config.optimizer.options,
    }
    del tree["model"]["target"], tree["model"]["options"]
    if config.model.target is not None:
        tree["model"] = {"_target_": config.model.target, **dict(config.model.options)}
    tree["scheduler"] = {"name": config.scheduler.name, **config.scheduler.options}
    del tree["data"]["options"]
    tree["data"] |= dict(config.data.options)
    tree["objective"] = list(config.objective)
    tree["schedule"] = [*config.schedule] if isinstance(config.schedule, tuple) else config.schedule
    del tree["loss"], tree["metrics"]
    if config.loss is not None:
        tree["loss"] = measure_tree(config.loss)
    if config.metrics:
        tree["metrics"] = [measure_tree(measure) for measure in config.metrics]
    del tree["trial"]
    return tree


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
    """Convert one scalar to the annotated type ``kind``; integers pass as floats, nothing else is coerced.

    Numbers are finite: no setting means anything by NaN or infinity.
    """
    optional = kind.endswith("| None")
    base = kind.removesuffix("| None").strip()
    if value is None and optional:
        return None
    if base == "bool" and isinstance(value, bool):
        return value
    if base == "int" and isinstance(value, int) and not isinstance(value, bool):
        return value
    if base == "float" and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not abs(value) <= sys.float_info.max:  # of an integer, too: they have no bounds
            raise UserError(f"{key} must be a finite number{' or null' if optional else ''}, got {value!r}")
        return value
    if base == "str" and isinstance(value, str):
        return value
    words = {"bool": "true or false", "int": "an integer", "float": "a number", "str": "a string"}[base]
    raise UserError(f"{key} must be {words}{' or null' if optional else ''}, got {value!r}")


def _refuse_unknown(prefix: str, node: Mapping[Any, Any], known: Sequence[str] | Mapping[str, Any]) -> None:
    for key in node:
        if key not in known:
            full = f"{prefix}.{key}" if prefix else str(key)
            shown = full if full.isprintable() else repr(full)
            raise UserError(f"{shown} is not a setting; {near(str(key), known)}")


def _model(node: dict[Any, Any]) -> ModelConfig:
    if "_target_" not in node:
        own = {f.name for f in dataclasses.fields(ModelConfig)} - {"target", "options"}
        _refuse_unknown("model", node, sorted(own))
        section: ModelConfig = _section(ModelConfig, "model", node)
        return section
    target = _convert("model._target_", node["_target_"], "str")
    options = sorted((str(key), value) for key, value in node.items() if key != "_target_")
    return ModelConfig(cell="custom", target=target, options=tuple(options))


def _optimizer(node: dict[Any, Any]) -> OptimizerConfig:
    target = node.get("_target_")
    if not isinstance(target, str) or not target.startswith("torch.optim."):
        raise UserError(f"optimizer._target_ must be a torch.optim class such as torch.optim.Adam, got {target!r}")
    if "lr" not in node:
        raise UserError("optimizer.lr is missing")
    lr = _convert("optimizer.lr", node["lr"], "float")
    if not lr > 0:
        raise UserError(f"optimizer.lr must be a finite number > 0, got {lr!r}")
    decay = node.get("weight_decay", 0.0)
    if not _convert("optimizer.weight_decay", decay, "float") >= 0:
        raise UserError(f"optimizer.weight_decay must be a finite number >= 0, got {decay!r}")
    options = {str(k): v for k, v in node.items() if k not in ("_target_", "lr")}
    return OptimizerConfig(target=target, lr=lr, options=options)


def _scheduler(node: dict[Any, Any]) -> SchedulerConfig:
    name = node.get("name", "none")
    if not isinstance(name, str) or name not in SCHEDULERS:
        raise UserError(f"scheduler.name must be a known schedule, got {name!r}; {near(str(name), SCHEDULERS)}")
    defaults = SCHEDULERS[name]
    given = {k: v for k, v in node.items() if k != "name"}
    _refuse_unknown("scheduler", given, defaults)
    options = dict(defaults)
    for key, value in given.items():
        whole = isinstance(defaults[key], int)
        options[key] = _convert(f"scheduler.{key}", value, "int" if whole else "float")
        low = 1 if key == "step_size" else 0
        if not options[key] >= low:
            raise UserError(f"scheduler.{key} must be a finite number >= {low}, got {value!r}")
    for key in ("pct_start", "factor"):
        if key in options and not 0 < options[key] < 1:
            raise UserError(f"scheduler.{key} must lie in (0, 1), got {options[key]!r}")
    for key in ("div_factor", "final_div_factor", "gamma"):
        if key in options and not options[key] > 0:
            raise UserError(f"scheduler.{key} must be > 0, got {options[key]!r}")
    return SchedulerConfig(name=name, options=options)


def tracking_config(node: Mapping[Any, Any]) -> TrackingConfig:
    """The section ``tracking``, checked. Raises :class:`UserError`."""
    tags = node.get("tags") or {}
    if not isinstance(tags, dict):
        raise UserError(f"tracking.tags must be a mapping of names to strings, got {tags!r}")
    flat = {key: value for key, value in node.items() if key != "tags"}
    section: TrackingConfig = _section(TrackingConfig, "tracking", flat)
    if not section.experiment.strip():
        raise UserError(f"tracking.experiment must not be empty, got {section.experiment!r}")
    if not section.uri.strip():
        raise UserError(f"tracking.uri must not be empty, got {section.uri!r}")
    name = section.register
    if name is not None and (not name.strip() or any(c in name for c in "/:.%\"'")):
        raise UserError(f"tracking.register must be a name without / : . % and quotes, got {name!r}")
    return dataclasses.replace(section, tags={str(k): str(v) for k, v in tags.items()})


def _data(node: dict[Any, Any]) -> DataConfig:
    """What is no setting of every data set is one of its own, which :func:`rnn_sweep.data.check` knows."""
    common = {f.name for f in dataclasses.fields(DataConfig)} - {"options"}
    section: DataConfig = _section(DataConfig, "data", {key: node[key] for key in node if key in common})
    options = sorted((str(key), value) for key, value in node.items() if key not in common)
    for key, value in options:
        if isinstance(value, (dict, list)):
            raise UserError(f"data.{key} must be one value, got {value!r}")
    return dataclasses.replace(section, options=tuple(options))


def _objective(value: Any, task: str, more: Sequence[Measure]) -> tuple[str, ...]:
    known = [*OBJECTIVES[task], *(f"val/{measure.name}" for measure in more)]
    names = [known[0]] if value is None else value if isinstance(value, list) else [value]
    if not names:
        raise UserError("objective must name at least one metric, got []")
    for name in names:
        if name not in known:
            rule = f"objective must be a metric of a run with data.task={task}"
            raise UserError(f"{rule}, got {name!r}; {near(str(name), known)}")
    return tuple(names)


def _schedule(node: Any) -> str | tuple[Mapping[str, Any], ...] | None:
    """A file's name, or its segments, which are checked where they are replayed."""
    if node is None or isinstance(node, str):
        return node
    if isinstance(node, list) and all(isinstance(segment, dict) for segment in node):
        return tuple(node)
    raise UserError(f"schedule must be a schedule file, or its segments, got {node!r:.100}")


def trial_identity(node: Any) -> Mapping[str, Any] | None:
    """What the sweeper says of a job's trial, None in a plain run. Raises :class:`UserError` for anything else."""
    kinds = {"number": int, "study_name": str, "storage": str}  # a job of a grid has none of them
    if node is None:
        return None
    if isinstance(node, dict):
        right = [isinstance(node.get(key), kind) for key, kind in kinds.items()]
        if all(right) or not kinds.keys() & node.keys():
            return node
    raise UserError(f"trial is set by the sweeper; leave it null, got {node!r}")
