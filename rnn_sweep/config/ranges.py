"""Ranges and contradictions: what the types of a configuration leave open."""

from __future__ import annotations

from collections.abc import Sequence

from rnn_sweep.config.schema import (
    CELLS,
    DEVICES,
    ENGINES,
    INITS,
    NONLINEARITIES,
    PRECISIONS,
    TASKS,
    Config,
    DataConfig,
    ModelConfig,
    TrainerConfig,
)
from rnn_sweep.errors import UserError, near

MOST_UNITS, MOST_LAYERS, MOST_EPOCHS, MOST_THREADS = 1_000_000, 1_000, 1_000_000_000, 100_000
"""Beyond what any machine has room or time for; a number with too many digits is a slip."""


def _one_of(key: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise UserError(f"{key} must be one of {', '.join(known)}; got {value!r}; {near(value, known)}")


def _at_least(key: str, value: float, low: float) -> None:
    if not value >= low:
        raise UserError(f"{key} must be >= {low}, got {value!r}")


def _at_most(key: str, value: int, high: int) -> None:
    if value > high:
        raise UserError(f"{key} must be <= {high}, got {value!r}")


def check_seed(key: str, value: int) -> None:
    """Refuse a seed that torch would refuse. Raises :class:`UserError`."""
    if not 0 <= value < 2**63:
        raise UserError(f"{key} must be an integer in [0, 2^63), got {value!r}")


def check_model(model: ModelConfig) -> None:
    """Refuse a model out of range, or one whose settings contradict its cell. Raises :class:`UserError`."""
    if model.target is not None:
        return
    _one_of("model.cell", model.cell, CELLS)
    _at_least("model.hidden_dim", model.hidden_dim, 1)
    _at_most("model.hidden_dim", model.hidden_dim, MOST_UNITS)
    _at_least("model.layers", model.layers, 1)
    _at_most("model.layers", model.layers, MOST_LAYERS)
    if not 0 <= model.dropout < 1:
        raise UserError(f"model.dropout must lie in [0, 1), got {model.dropout!r}")
    _one_of("model.init", model.init, INITS)
    if model.cell == "rnn":
        _one_of("model.nonlinearity", str(model.nonlinearity), NONLINEARITIES)
        if model.init == "chrono":
            others = ", ".join(init for init in INITS if init != "chrono")
            raise UserError(f"model.init=chrono is for model.cell=lstm and gru; model.cell=rnn takes one of {others}")
        return
    if model.nonlinearity is not None:
        rule = f"must be null for model.cell={model.cell}, whose gates fix it"
        raise UserError(f"model.nonlinearity {rule}; got {model.nonlinearity!r}")
    if model.init == "identity":
        raise UserError(f"model.init=identity is for model.cell=rnn; got model.cell={model.cell}")


def check_data(data: DataConfig) -> None:
    """Refuse sizes that no data set could have. Raises :class:`UserError`."""
    _one_of("data.task", data.task, TASKS)
    _at_least("data.batch_size", data.batch_size, 1)
    if data.val_size <= 0 or (data.val_size >= 1 and data.val_size != int(data.val_size)):
        raise UserError(f"data.val_size must be a count >= 1 or a fraction in (0, 1), got {data.val_size!r}")
    if data.limit is not None:
        _at_least("data.limit", data.limit, 1)
    check_seed("data.split_seed", data.split_seed)


def check_gradients(config: Config) -> None:
    """Refuse an epoch that there is not, or a state that does not say what was read. Raises :class:`UserError`."""
    trainer, model = config.trainer, config.model
    if trainer.gradients is None:
        return
    if not 1 <= trainer.gradients <= trainer.epochs:
        rule = f"must be an epoch from 1 to trainer.epochs={trainer.epochs}, or null"
        raise UserError(f"trainer.gradients {rule}; got {trainer.gradients!r}")
    why = None
    if model.target is not None:
        why = f"model._target_={model.target}, whose states are not known"
    elif model.bidirectional:
        why = "model.bidirectional=true, whose states have been reached from both ends"
    elif config.loss is not None:
        why = f"loss={config.loss.target}: the gradients are those of the usual loss"
    if why is not None:
        raise UserError(f"trainer.gradients must be null for {why}; got {trainer.gradients!r}")


def check_trainer(trainer: TrainerConfig) -> None:
    """Refuse trainer settings out of range. Raises :class:`UserError`."""
    _at_least("trainer.epochs", trainer.epochs, 1)
    _at_most("trainer.epochs", trainer.epochs, MOST_EPOCHS)
    device = trainer.device.split(":", 1)[0]
    _one_of("trainer.device", device, DEVICES)
    _one_of("trainer.engine", trainer.engine, ENGINES)
    if trainer.threads is not None:
        _at_least("trainer.threads", trainer.threads, 1)
        _at_most("trainer.threads", trainer.threads, MOST_THREADS)
    if trainer.clip_norm is not None and not trainer.clip_norm > 0:
        raise UserError(f"trainer.clip_norm must be a finite number > 0 or null, got {trainer.clip_norm!r}")
    if trainer.patience is not None:
        _at_least("trainer.patience", trainer.patience, 1)
    if trainer.timeout is not None and not trainer.timeout > 0:
        raise UserError(f"trainer.timeout must be a finite number of seconds > 0 or null, got {trainer.timeout!r}")
    _one_of("trainer.precision", trainer.precision, PRECISIONS)
