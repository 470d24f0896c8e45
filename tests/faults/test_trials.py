"""Trials that go wrong: each ends in its own state with its own cause, and the others as if it had not been there."""

from __future__ import annotations

import pytest
from optuna.trial import FrozenTrial, TrialState

from tests.faults.conftest import LONG, Record, long_only
from tests.faults.harness import Campaign, settings

GRID = [
    "hydra/sweeper/sampler=grid",
    "hydra.sweeper.params=null",
    "hydra.sweeper.conditions=null",
    "hydra/sweeper/pruner=none",
    "hydra.sweeper.report=false",
]
TOLERANT = [
    "hydra.sweeper.max_failure_rate=1",
    "hydra.sweeper.defaults_first=false",
    "hydra.sweeper.direction=maximize",
]


def by_params(campaign: Campaign) -> dict[tuple[object, ...], FrozenTrial]:
    return {(t.params["optimizer.lr"], t.params.get("data.dir")): t for t in campaign.trials()}


@pytest.mark.parametrize("launcher", ["fused", "processes"] if LONG else ["fused"])
def test_faulty_trials_disturb_no_others(campaign: Campaign, record: Record, launcher: str) -> None:
    line = [*settings(), f"hydra/launcher={launcher}", *GRID, *TOLERANT, "trainer.clip_norm=null", "optimizer=sgd"]
    text = campaign.finish(campaign.start(*line, "optimizer.lr=0.01,0.02,1e30", "data.dir=null,/proc/nowhere"))
    assert "Traceback" not in text
    trials = by_params(campaign)
    assert len(trials) == 6
    for rate in (0.01, 0.02, 1e30):
        refused = trials[rate, "/proc/nowhere"]
        assert refused.state is TrialState.FAIL
        assert "data.dir" in refused.user_attrs["cause"]
    diverged = trials[1e30, None]
    assert diverged.state is TrialState.PRUNED
    assert "NaN or infinite" in diverged.user_attrs["cause"]
    campaign.name = "without"
    campaign.finish(campaign.start(*line, "optimizer.lr=0.01,0.02"))
    for key, alone in by_params(campaign).items():
        together = trials[key]
        assert together.state is alone.state is TrialState.COMPLETE
        assert together.values == pytest.approx(alone.values, abs=0.01 if launcher == "fused" else 0)
    record(f"NaN losses and exceptions beside sound trials, launcher {launcher}", tried=4)


@long_only
@pytest.mark.parametrize("launcher", ["fused", "processes"])
def test_memory_runs_out(campaign: Campaign, record: Record, launcher: str) -> None:
    line = [*settings(), f"hydra/launcher={launcher}", *GRID, *TOLERANT]
    line = [each for each in line if not each.startswith("model.hidden_dim")]
    text = campaign.finish(campaign.start(*line, "model.hidden_dim=8,400000", "seed=1,2"))
    assert "Traceback" not in text
    for trial in campaign.trials():
        if trial.params["model.hidden_dim"] == 8:
            assert trial.state is TrialState.COMPLETE
        else:
            assert trial.state is TrialState.FAIL
            assert "memory" in trial.user_attrs["cause"]
    record(f"a configuration that does not fit into memory, launcher {launcher}", tried=2)


@pytest.mark.parametrize("launcher", ["fused", "processes"] if LONG else ["fused"])
def test_a_run_takes_too_long(campaign: Campaign, record: Record, launcher: str) -> None:
    line = [*settings(100_000), f"hydra/launcher={launcher}", *GRID, *TOLERANT, "trainer.timeout=2"]
    text = campaign.finish(campaign.start(*line, "seed=1,2"), status=1)
    assert "trainer.timeout" in text
    for trial in campaign.trials():
        assert trial.state is TrialState.FAIL
        assert "trainer.timeout" in trial.user_attrs["cause"]
    assert {r.info.status for r in campaign.runs() if "mlflow.parentRunId" in r.data.tags} == {"FAILED"}
    record(f"`trainer.timeout`, launcher {launcher}", tried=2)
