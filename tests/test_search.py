"""``benchmarks/search.py``: simulated sweeps over the recorded runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import search_record
    import search_simulator

    bench = search_record.BENCHES["digits"]
    made = search_record.Record.load(bench.file)

    def run(*overrides: str, **clock: Any) -> Any:
        given = {"workers": 3, "start_seconds": 0.1, "epochs": 60, "seconds": 0.0, **clock}
        cfg = search_record.composed(bench, ["hydra.sweeper.sampler.seed=1", *overrides])
        sweep = search_record.sweep_of(cfg)
        simulation = search_simulator.Simulation(sweep, made, search_simulator.Clock(**given), 0)
        return simulation, simulation.run()

    return run


def test_a_simulated_sweep_trains_its_epochs_and_is_the_same_each_time(simulated: Any) -> None:
    plain = ["hydra/sweeper/sampler=random", "hydra/sweeper/pruner=none"]
    simulation, result = simulated(*plain)
    assert result.epochs == 60
    assert result.pruned == 0
    scores = [point.best for point in result.points]
    assert scores == sorted(scores)
    assert simulated(*plain)[1] == result
    # Trial 0 is the application's defaults, whose recorded run is its value.
    first = simulation.study.trials[0]
    assert first.params["model.hidden_dim"] == 64
    assert first.value == pytest.approx(simulation.record.score[(0, *simulation.record.index(first.params))].max())


def test_batches_wait_for_their_slowest_trial(simulated: Any) -> None:
    plain = ["hydra/sweeper/sampler=random", "hydra/sweeper/pruner=none"]
    _, at_once = simulated(*plain, epochs=120)
    _, batches = simulated(*plain, epochs=120, batches=True)
    assert batches.seconds > at_once.seconds


def test_pruned_trials_use_up_the_epochs_that_they_trained(simulated: Any) -> None:
    simulation, result = simulated("hydra/sweeper/pruner=median", epochs=300)
    assert result.pruned > 0
    assert result.epochs == sum(len(trial.intermediate_values) for trial in simulation.study.trials)
    assert result.epochs < 10 * result.trials


def test_parameters_that_a_point_lacks_are_answered_with_the_first_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import search_record

    bench = search_record.BENCHES["wide"]
    made, sweep = search_record.Record.load(bench.file), search_record.sweep_of(search_record.composed(bench))
    assert made.seeds == 1, "every point is recorded"
    whole = {axis.key: axis.values[-1] for axis in made.axes} | {"model": "gru", "optimizer": "adam"}
    point = search_record.existing(whole, sweep.suggester)
    assert set(whole) - set(point) == {"model.nonlinearity", "optimizer.momentum"}
    first, last = made.index(point), made.index(whole)
    assert first != last
    assert (made.score[(0, *first)] == made.score[(0, *last)]).all()
