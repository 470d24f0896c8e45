"""Results of a training run: the best weights tested and saved, and the outcome."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from rnn_sweep import engines
from rnn_sweep.engines.engine import Measured, Weights
from rnn_sweep.files import WEIGHTS_FILE
from rnn_sweep.models import network, save_weights
from rnn_sweep.outcome import Outcome, State
from rnn_sweep.training import gradients, plots

if TYPE_CHECKING:
    from rnn_sweep import Run
    from rnn_sweep.training.loop import Metrics, Training

"""The best weights, in the run's output folder."""


def conclude(training: Training, run: Run) -> Outcome:
    """Write and record the best weights, test them where the run is complete, and gather its outcome."""
    state = run.state or State.COMPLETE
    metrics: Metrics = {}
    if training.best is not None:
        metrics |= run.history[training.best.epoch - 1]
        metrics |= {f"val/{training.score}_best": training.best.score, "best_epoch": float(training.best.epoch)}
        _record_weights(training, run, training.best.weights)
    if training.gradients is not None:
        path = gradients.write(run.folder, training.config.trainer.gradients, training.gradients)
        run.artifact(path)
        run.artifact(plots.save_gradients(path))
    if state is State.COMPLETE and training.best is not None:
        tested = _test(training, training.best.weights)
        metrics |= {"test/loss": tested.loss, f"test/{training.score}": tested.score}
        metrics |= {f"test/{name}": value for name, value in tested.more.items()}
        usual = training.config.loss is None  # of another loss the naive answer's is not known
        metrics |= {name: value for name, value in training.dataset.baseline.items() if usual or name != "naive/loss"}
    metrics["parameters"] = float(sum(value.numel() for value in training.engine.weights().values()))
    metrics["seconds"] = training.seconds
    return _outcome(training, run, state, metrics)


def _record_weights(training: Training, run: Run, weights: Weights) -> None:
    model = network(training.spec)
    model.load_state_dict(weights)
    path = run.folder / WEIGHTS_FILE
    save_weights(model, training.spec, path)
    run.artifact(path)
    if run.state is not State.INTERRUPTED:  # else its model is yet to come
        data = training.dataset
        run.log_model(model, (data.x_test[:1].float() * data.scale).numpy())


def _test(training: Training, weights: Weights) -> Measured:
    """Measure on the test part in single precision, as the weights are kept, whatever the run was trained in."""
    config = training.config
    single = replace(config, trainer=replace(config.trainer, precision="fp32"))
    engine = engines.build(single, training.spec, training.dataset, threads=training.threads)
    engine.load_weights(weights)
    return engine.evaluate("test")


def _outcome(training: Training, run: Run, state: State, metrics: Metrics) -> Outcome:
    values = tuple(metrics.get(name, math.nan) for name in training.config.objective)
    measured = all(math.isfinite(value) for value in values)
    images = training.dataset.count("train") * training.finished
    return Outcome(
        state=state,
        values=values if measured else (),
        metrics=metrics,
        history=tuple(run.history),
        epochs=training.finished,
        seconds=training.seconds,
        images_per_second=images / training.training_seconds if training.finished else 0.0,
        cause=run.cause,
    )
