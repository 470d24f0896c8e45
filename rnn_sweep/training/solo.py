"""A single run: one lane from first weights, or a checkpoint, to its outcome."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnn_sweep.config import Config, to_tree
from rnn_sweep.data import Dataset
from rnn_sweep.lanes import Batches
from rnn_sweep.models import RecurrentClassifier, save_weights
from rnn_sweep.outcome import Outcome, State
from rnn_sweep.training import checkpoint
from rnn_sweep.training.device import choose_device, one_thread_per_operation
from rnn_sweep.training.lane import Lane, Metrics
from rnn_sweep.training.loop import Population, evaluate
from rnn_sweep.training.optim import check_optimizer

WEIGHTS_FILE = "weights.safetensors"
"""The best weights, in the run's output folder."""


class Observer:
    """What a run tells while it trains; every method may be overridden."""

    def step(self) -> None:
        """Called after each optimiser step."""

    def epoch(self, epoch: int, metrics: Metrics) -> bool:
        """Called with the metrics of each finished epoch, counted from 1. False ends the run as pruned."""
        return True

    def stop(self) -> bool:
        """Asked after each epoch: True ends the run as interrupted, to be resumed later."""
        return False


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
    """
    observer = observer or Observer()
    device = choose_device(config.trainer)
    population = Population([config], dataset, device)
    lane = population.lanes[0]
    if resume is not None:
        population.network.load(0, resume["weights"])
        lane.load_state_dict(resume)
    save = _Saver(population, folder, {"config": to_tree(config), **(notes or {})})
    save()
    with one_thread_per_operation():
        state = _epochs(population, observer, save)
    return _finish(population, dataset, folder, state)


class _Saver:
    """Writes the checkpoint of a population of one."""

    def __init__(self, population: Population, folder: Path, fixed: Mapping[str, Any]) -> None:
        self._population = population
        self._folder = folder
        self._fixed = fixed

    def __call__(self) -> None:
        lane = self._population.lanes[0]
        checkpoint.save(self._folder, {**self._fixed, **lane.state_dict(self._population.weights(0))})


def _epochs(population: Population, observer: Observer, save: _Saver) -> State:
    lane = population.lanes[0]
    while not lane.done():
        metrics = population.epoch(observer.step)[0]
        if metrics is None:
            return State.DIVERGED
        keep = observer.epoch(lane.epoch, metrics)
        save()
        if not keep:
            lane.cause = f"pruned after epoch {lane.epoch}"
            return State.PRUNED
        if observer.stop() and not lane.done():
            lane.cause = f"interrupted after epoch {lane.epoch}"
            return State.INTERRUPTED
    return State.COMPLETE


def _finish(population: Population, dataset: Dataset, folder: Path, state: State) -> Outcome:
    """Test the best weights where the run is complete, and gather the outcome."""
    lane = population.lanes[0]
    model = RecurrentClassifier(population.spec)
    metrics: Metrics = {}
    if lane.best is not None:
        metrics |= lane.history[lane.best.epoch - 1]
        metrics |= {"val/accuracy_best": lane.best.accuracy, "best_epoch": float(lane.best.epoch)}
        model.load_state_dict(lane.best.weights)
        save_weights(model, population.spec, folder / WEIGHTS_FILE)
    if state is State.COMPLETE:
        model.to(population.device)
        test = Batches(dataset.x_test, dataset.y_test, scale=dataset.scale, device=population.device)
        metrics["test/loss"], metrics["test/accuracy"] = evaluate(model, test)
    metrics["parameters"] = float(sum(p.numel() for p in model.parameters()))
    metrics["seconds"] = lane.seconds
    return _outcome(lane, state, metrics, len(dataset.x_train))


def _outcome(lane: Lane, state: State, metrics: Metrics, images: int) -> Outcome:
    values = tuple(metrics.get(name, math.nan) for name in lane.config.objective)
    measured = all(math.isfinite(value) for value in values)
    return Outcome(
        state=state,
        values=values if measured else (),
        metrics=metrics,
        history=tuple(lane.history),
        epochs=lane.epoch,
        seconds=lane.seconds,
        images_per_second=images * lane.epoch / lane.training_seconds if lane.epoch else 0.0,
        cause=lane.cause,
    )
