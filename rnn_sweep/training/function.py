"""The training function: one network, from first weights or a checkpoint to its outcome, over ``rnn_sweep.Run``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rnn_sweep import data, engines
from rnn_sweep.config import Config
from rnn_sweep.data.description import describe
from rnn_sweep.engines.device import one_thread_per_operation
from rnn_sweep.engines.torch_.measures import check_measures
from rnn_sweep.engines.torch_.optimizer import build_optimizer, check_optimizer, still
from rnn_sweep.errors import UserError
from rnn_sweep.models import check_target
from rnn_sweep.outcome import Outcome, State
from rnn_sweep.training.loop import Training
from rnn_sweep.training.results import conclude
from rnn_sweep.watchdog import announced, late

if TYPE_CHECKING:
    from rnn_sweep import Run

KEPT = "training"
"""Name of what the run keeps."""


def check(config: Config) -> None:
    """Check what needs torch to be checked: the optimiser's arguments, the device and the engine.

    Raises:
        UserError: one of them does not fit.
    """
    build_optimizer(config.optimizer, [nn.Parameter(torch.zeros(2))], still)
    if config.model.target is not None:
        check_target(config.model.target, dict(config.model.options))
    check_measures(config)
    if config.trainer.gradients is not None and data.padded(config.data):
        rule = f"must be null for data.name={config.data.name} with lengths, whose sequences end at different steps"
        raise UserError(f"trainer.gradients {rule}; got {config.trainer.gradients!r}")
    if engines.choose(config).name == "torch":
        check_optimizer(config.optimizer)


def settled(config: Config, kept: Mapping[str, Any]) -> Config:
    """The configuration with the engine that trained what a run goes on from.

    Raises:
        UserError: it is not to be had, or it is no checkpoint of this function.
    """
    if KEPT not in kept:
        raise UserError(f"the checkpoint must be one of rnn-sweep's own training, got one of {', '.join(kept)}")
    return engines.settle(config, kept[KEPT]["engine"])


def train(config: Config, run: Run) -> Outcome:
    """Train one network and measure it once on the test set, with its best validation weights.

    Args:
        config: what to train and how; ``trainer.threads`` threads train it, or one a core.
        run: of which the folder gets the best weights (``weights.safetensors``).

    Raises:
        UserError: the data, the optimiser, the device or the precision does not fit, the engine that wrote the
            checkpoint is not to be had, or memory is short.
        TimeoutError: ``trainer.timeout`` is over.
    """
    # A stream has a state, and is one run's own.
    dataset = data.load(config.data) if data.streamed(config.data) else run.share(data.load, config.data)
    threads, limit = config.trainer.threads or torch.get_num_threads(), config.trainer.timeout
    begun = time.monotonic()

    def tick(n: int) -> None:
        if limit is not None and time.monotonic() - begun > limit:
            raise TimeoutError(late("trainer.timeout", limit))
        run.step(n)

    with one_thread_per_operation(), _memory_named(config):
        training = run.keep(Training(config, dataset, threads=lambda: run.cores or threads), KEPT)
        run.tag({"engine": training.engine.identity} | ({"data.sha256": dataset.sha256} if dataset.sha256 else {}))
        run.log_dataset(describe(dataset, config.data))
        with announced("trainer.timeout", limit):
            for epoch in run.epochs(config.trainer.epochs, steps=training.steps_per_epoch):
                metrics = training.epoch(tick)
                if metrics is None:
                    run.end(State.DIVERGED, f"the loss became NaN or infinite in epoch {epoch}")
                    continue
                run.log(metrics)
                if training.out_of_patience:
                    run.end()
        return conclude(training, run)


@contextmanager
def _memory_named(config: Config) -> Iterator[None]:
    """Where memory runs out, say which settings ask for it."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "allocate memory" not in str(error):  # torch has no type for it
            raise
        model = config.model
        shape = f"model.hidden_dim={model.hidden_dim}, model.layers={model.layers}"
        asked = shape if model.target is None else f"model._target_={model.target}"
        size = config.data.batch_size
        raise UserError(f"the run needs more memory than there is, got {asked}, data.batch_size={size}") from error
