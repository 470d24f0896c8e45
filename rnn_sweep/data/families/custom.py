"""Arrays of one's own, from a function: ``data=custom data._target_=mypackage.load``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rnn_sweep.config import DataConfig
from rnn_sweep.config.targets import arguments, resolve
from rnn_sweep.data import streams
from rnn_sweep.data.families.npz import NAMES, File, assemble
from rnn_sweep.data.family import Array, Arrays, Option, Options
from rnn_sweep.errors import UserError

KEY = "data._target_"
_OWN = ("_target_", "test_size", "lengths", "batches")


@dataclass(frozen=True)
class Custom:
    """What a function of the user's own returns, checked as a file of :mod:`rnn_sweep.data.families.npz` is.

    Settings beside those of all data sets are the function's arguments.
    """

    name: str = "custom"
    tasks: tuple[str, ...] = ("classification", "regression")
    options: Mapping[str, Option] = field(
        default_factory=lambda: {
            "_target_": Option(""),
            "test_size": Option(0.2, 0),
            "lengths": Option(False),
            "batches": Option(False),
        }
    )
    free: bool = True

    def size(self, options: Options) -> None:
        """The arrays show when the function is called; that there is one, and takes its settings, shows here."""
        _arguments(options, 0)
        if options["batches"] and options["lengths"]:
            raise UserError("data.lengths must be false with data.batches=true, got true")

    def streamed(self, options: Options) -> bool:
        """The setting ``batches``."""
        return options.get("batches") is True

    def streams(self, config: DataConfig, options: Options) -> tuple[Mapping[str, streams.Stream], int]:
        """Call a function that returns iterables of batches; the parts, and the number of outputs.

        Raises:
            UserError: as :func:`rnn_sweep.data.streams.opened`.
        """
        target = options["_target_"]
        found = resolve(KEY, target)(**_arguments(options, config.batch_size))
        return streams.opened(found, target, config.task)

    def padded(self, options: Options) -> bool:
        """The setting ``lengths``: what the function returns shows too late for the choice of an engine."""
        return options.get("lengths") is True

    def open(self, config: DataConfig, options: Options) -> Arrays:
        """Call the function and check what it returns; whatever is wrong with that is a UserError."""
        target = options["_target_"]
        found = _named(target, resolve(KEY, target)(**_arguments(options, config.batch_size)))
        if ("lengths" in found) != options["lengths"]:
            rule = "data.lengths must be true where data._target_ returns lengths, and false where it does not"
            raise UserError(f"{rule}; got {str(options['lengths']).lower()}, and {', '.join(found)} of {target}")
        return assemble(File(target, found, KEY), config, options["test_size"], self.name)


def _arguments(options: Options, batch_size: int) -> dict[str, Any]:
    """Its settings and, for a function that makes the batches, the batch size where it takes that."""
    target = options["_target_"]
    given = {key: value for key, value in options.items() if key not in _OWN}
    return arguments("data", target, resolve(KEY, target), given, {"batch_size": batch_size})


def _named(target: str, found: Any) -> Mapping[str, Array]:
    """Arrays by name."""
    names = ", ".join(NAMES)
    rule = f"{KEY} must return (X, y), (X, y, X_test, y_test) or a mapping of {names}; batches with data.batches=true"
    if isinstance(found, tuple | list) and len(found) in (2, 4):
        found = dict(zip(("X", "y", "X_test", "y_test"), found, strict=False))
    if not isinstance(found, Mapping):
        size = f" of {len(found)}" if isinstance(found, tuple | list) else ""
        raise UserError(f"{rule}, got a {type(found).__name__}{size} of {target}")
    if unknown := [key for key in found if key not in NAMES]:
        raise UserError(f"{rule}, got {unknown[0]!r} of {target}")
    return {key: np.asarray(array) for key, array in found.items()}


FAMILY = Custom()
