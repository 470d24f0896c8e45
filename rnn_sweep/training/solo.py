"""A single run: a population of one lane, from first weights or a checkpoint to its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnn_sweep.config import Config
from rnn_sweep.data import Dataset
from rnn_sweep.deadline import announced
from rnn_sweep.lanes.precision import fast_products
from rnn_sweep.outcome import Outcome
from rnn_sweep.training.device import choose_device, one_thread_per_operation
from rnn_sweep.training.ending import conclude
from rnn_sweep.training.lane import Entry, Observer
from rnn_sweep.training.loop import Population
from rnn_sweep.training.optim import check_optimizer


def check(config: Config) -> None:
    """Check what needs torch to be checked: the optimiser's arguments, the device and the precision.

    Raises:
        UserError: one of them does not fit.
    """
    check_optimizer(config.optimizer)
    choose_device(config.trainer)


def train(
    config: Config,
    dataset: Dataset,
    folder: Path,
    observer: Observer | None = None,
    *,
    notes: Mapping[str, Any] | None = None,
    resume: Mapping[str, Any] | None = None,
) -> Outcome:
    """Train one network and measure it once on the test set, with its best validation weights.

    Args:
        config: what to train and how.
        dataset: ``x`` of shape ``[N, T, I]`` and labels ``[N]``, in three parts.
        folder: where the checkpoint of each epoch and the best weights (``weights.safetensors``) go.
        observer: told about steps and epochs; may end the run.
        notes: plain values kept in every checkpoint for whoever resumes the run.
        resume: a checkpoint's content, to go on from.

    Raises:
        UserError: the optimiser, device or precision does not fit (see :func:`check`).
        Exception: whatever the optimiser or the observer raised.
    """
    population = Population(config, dataset, choose_device(config.trainer))
    with one_thread_per_operation(), fast_products():
        # Within: the first weights, too, are rounded as threads divide them (orthogonal ones are of a decomposition).
        lane = population.join(Entry(config, folder, observer or Observer(), notes or {}, resume))
        with announced("trainer.timeout", config.trainer.timeout):
            while not lane.over:
                population.epoch()
        return conclude(lane, population)
