"""Making the engine of a run, and saying what is not as one would expect. Imports torch only where it builds."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from rnn_sweep.config import Config
from rnn_sweep.engines.choosing import Choice, choose

if TYPE_CHECKING:
    from rnn_sweep.data import Dataset
    from rnn_sweep.engines.engine import Engine
    from rnn_sweep.models import ModelSpec

log = logging.getLogger(__name__)


def build(config: Config, spec: ModelSpec, dataset: Dataset, *, threads: Callable[[], int]) -> Engine:
    """Make the engine that :func:`~rnn_sweep.engines.choose` says; its weights are yet to be loaded.

    Args:
        config: of the run.
        spec: shape of its network.
        dataset: what it trains on.
        threads: asked at every tick how many threads may be used, the calling one included.

    Raises:
        UserError: as :func:`~rnn_sweep.engines.choose`, or the optimiser refuses its settings.
    """
    choice = choose(config)
    _say(config, choice)
    config = replace(config, trainer=replace(config.trainer, precision=choice.precision))
    if choice.name == "native":
        from rnn_sweep.engines.native.engine import NativeEngine

        return NativeEngine(config, spec, dataset, threads=threads)
    from rnn_sweep.engines.torch_.engine import TorchEngine

    return TorchEngine(config, spec, dataset, threads=threads)


def announce(config: Config) -> None:
    """Log what a user may not expect of the engine that will train a run, once in a process; :func:`build` does, too.

    Raises:
        UserError: as :func:`~rnn_sweep.engines.choose`.
    """
    _say(config, choose(config))


def _say(config: Config, choice: Choice) -> None:
    if choice.missing:
        _warn(f"the native engine is not available, torch's trains instead, which is slower: {choice.reason}")
    elif choice.reason is not None and choice.device == "cpu" and config.trainer.engine != "torch":
        _inform(f"{choice.reason}: the torch engine trains, which is slower than the native one")
    elif choice.precision != config.trainer.precision:
        _warn(f"trainer.precision={config.trainer.precision}: this processor cannot, training with fp32")


@functools.cache
def _warn(message: str) -> None:
    log.warning(message)


@functools.cache
def _inform(message: str) -> None:
    log.info(message)
