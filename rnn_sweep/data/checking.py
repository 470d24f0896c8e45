"""What can be refused before any data is opened; needs no torch."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from rnn_sweep.config import DataConfig
from rnn_sweep.data.families import FAMILIES
from rnn_sweep.data.family import Family, Option, Options
from rnn_sweep.errors import UserError, near


def check(config: DataConfig) -> tuple[Family, Options]:
    """Check the settings of a data set, and its sizes where they are known beforehand.

    Returns:
        The family and all of its settings.

    Raises:
        UserError: the name is unknown, the task does not fit it, a setting is unknown, has the wrong type or lies out
            of range, a file is not there, or ``val_size``, ``limit`` or ``batch_size`` does not fit.
    """
    family = FAMILIES.get(config.name)
    if family is None:
        raise UserError(f"data.name must be a known data set, got {config.name!r}; {near(config.name, FAMILIES)}")
    if config.task not in family.tasks:
        raise UserError(
            f"data.task must be {' or '.join(family.tasks)} for data.name={family.name}, got {config.task!r}"
        )
    free = getattr(family, "free", False)  # its further settings are arguments of a function of the user's
    for key, _ in config.options:
        if key not in family.options and not free:
            known = [*family.options, *(f.name for f in dataclasses.fields(DataConfig) if f.name != "options")]
            raise UserError(f"data.{key} is not a setting of data.name={family.name}; {near(key, known)}")
    given = dict(config.options)
    options = {key: _value(f"data.{key}", option, given) for key, option in family.options.items()}
    options = {**given, **options} if free else options
    if config.limit is not None and config.limit < 1:
        raise UserError(f"data.limit must be >= 1 or null, got {config.limit!r}")
    if streamed(config) and config.limit is not None:
        raise UserError(f"data.limit must be null with data.batches=true, got {config.limit!r}")
    total = family.size(options)
    if total is None:
        held_out("data.val_size", config.val_size, None, config.name)
    else:
        check_batch(config, total - held_out("data.val_size", config.val_size, total, config.name))
    return family, options


def padded(config: DataConfig) -> bool:
    """Whether sequences have lengths of their own, as far as that shows without opening the data."""
    family = FAMILIES.get(config.name)
    found = getattr(family, "padded", None)  # of the families that can
    return bool(found is not None and found(dict(config.options)))


def streamed(config: DataConfig) -> bool:
    """Whether the data are read batch by batch, and never are in memory as a whole."""
    family = FAMILIES.get(config.name)
    found = getattr(family, "streamed", None)  # of the families that can
    return bool(found is not None and found(dict(config.options)))


def _value(key: str, option: Option, given: Options) -> Any:
    """The value of one setting, given or by default."""
    value: Any = given.get(key.removeprefix("data."), option.default)
    if option.default is None:
        return _file(key, value)
    kind, words = type(option.default), {int: "an integer", float: "a number", str: "a string", bool: "true or false"}
    fits = isinstance(value, (int, float) if kind is float else kind) and isinstance(value, bool) == (kind is bool)
    if option.choices:
        if not fits or value not in option.choices:
            names = [str(choice) for choice in option.choices]
            raise UserError(f"{key} must be one of {', '.join(names)}; got {value!r}; {near(str(value), names)}")
    elif not fits:
        raise UserError(f"{key} must be {words[kind]}, got {value!r}")
    elif kind is not str and not option.low <= value <= option.high:
        raise UserError(f"{key} must lie in [{option.low:g}, {option.high:g}], got {value!r}")
    return value


def _file(key: str, value: Any) -> Path:
    if value is None or not isinstance(value, str) or not value.strip():
        raise UserError(f"{key} must be the path of a file, got {value!r}")
    path = Path(value).expanduser()
    if not path.is_file():
        raise UserError(f"{key} must be a file that is there, got {value!r}")
    return path


def held_out(key: str, size: float, total: int | None, name: str) -> int:
    """How many of ``total`` sequences a count or a fraction puts aside; with None only the value itself is checked.

    Raises:
        UserError: it is neither, or leaves nothing on one side.
    """
    fraction = isinstance(size, float) and not size.is_integer()
    if fraction and not 0 < size < 1:
        raise UserError(f"{key} must be a count or a fraction in (0, 1), got {size!r}")
    if total is None:
        return 0
    count = round(total * size) if fraction else int(size)
    if not 1 <= count < total:
        rule = f"must leave sequences on both sides: at least 1 and fewer than the {total} sequences"
        raise UserError(f"{key} {rule} of {name}, got {size!r}")
    return count


def check_batch(config: DataConfig, train: int) -> None:
    """Check the batch size against the number of training sequences, ``limit`` not yet applied.

    Raises:
        UserError: it does not fit.
    """
    train = min(train, config.limit or train)
    if not 1 <= config.batch_size <= train:
        raise UserError(
            f"data.batch_size must be >= 1 and at most the {train} training sequences of {config.name}"
            f" (data.val_size={config.val_size!r}, data.limit={config.limit!r}), got {config.batch_size!r}"
        )
