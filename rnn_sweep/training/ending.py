"""The end of a run: test the best weights, keep them, and gather the outcome."""

from __future__ import annotations

import math

from rnn_sweep.lanes import LaneNetwork
from rnn_sweep.models import RecurrentNetwork, save_weights
from rnn_sweep.outcome import Outcome, State
from rnn_sweep.training import gradients
from rnn_sweep.training.lane import Lane, Metrics
from rnn_sweep.training.loop import Population, measure

WEIGHTS_FILE = "weights.safetensors"
"""The best weights, in the run's output folder."""


def conclude(lane: Lane, population: Population) -> Outcome:
    """Write the best weights of a run that has ended, test them where it is complete, and gather its outcome.

    Args:
        lane: the run, which has left the population.
        population: what it was trained in.

    Raises:
        Exception: what ended the run, where that was an error.
    """
    if lane.error is not None:
        raise lane.error
    if lane.state is None:
        raise ValueError("the run has not ended")
    model = RecurrentNetwork(lane.spec)
    metrics: Metrics = {}
    if lane.best is not None:
        metrics |= lane.history[lane.best.epoch - 1]
        metrics |= {f"val/{lane.score}_best": lane.best.score, "best_epoch": float(lane.best.epoch)}
        model.load_state_dict(lane.best.weights)
        save_weights(model, lane.spec, lane.entry.folder / WEIGHTS_FILE)
    if lane.gradients is not None:
        gradients.write(lane.entry.folder, lane.config.trainer.gradients, lane.gradients)
    if lane.state is State.COMPLETE:
        # The weights that are kept are single precision, whatever the run was trained in.
        network = LaneNetwork(lane.spec, 1, device=population.device, precision="fp32", threads=population.threads)
        network.load(0, model.state_dict())
        loss, score = measure(network, population.test)
        metrics |= {"test/loss": float(loss), f"test/{lane.score}": float(score), **population.dataset.baseline}
    metrics["parameters"] = float(sum(p.numel() for p in model.parameters()))
    metrics["seconds"] = lane.seconds
    return _outcome(lane, lane.state, metrics, len(population.train))


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
