"""Trials that go wrong: each ends in its own state with its own cause, and the others as if it had not been there."""

from __future__ import annotations

import resource

import pytest
from optuna.trial import FrozenTrial, TrialState

from tests.conftest import ROOT
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

LIMIT = 6 << 30
"""Bytes of address space."""


def by_params(campaign: Campaign) -> dict[tuple[object, ...], FrozenTrial]:
    return {(t.params["optimizer.lr"], t.params.get("data.dir")): t for t in campaign.trials()}


@pytest.mark.parametrize("launcher", ["threads", "processes"] if LONG else ["threads"])
def test_faulty_trials_disturb_no_others(campaign: Campaign, record: Record, launcher: str) -> None:
    line = [*settings(), f"hydra/launcher={launcher}", *GRID, *TOLERANT, "trainer.clip_norm=null", "optimizer=sgd"]
    line += ["hydra.sweeper.reuse=false"]  # the faulty ones differ from the sound ones in nothing that decides a figure
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
        assert together.values == alone.values
    record(f"NaN losses and exceptions beside sound trials, launcher {launcher}", tried=4)


@long_only
@pytest.mark.parametrize("launcher", ["threads", "processes"])
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


@pytest.mark.parametrize("launcher", ["threads", "processes"] if LONG else ["threads"])
def test_a_run_takes_too_long(campaign: Campaign, record: Record, launcher: str) -> None:
    line = [*settings(100_000), f"hydra/launcher={launcher}", *GRID, *TOLERANT, "trainer.timeout=2"]
    text = campaign.finish(campaign.start(*line, "seed=1,2"), status=1)
    assert "trainer.timeout" in text
    for trial in campaign.trials():
        assert trial.state is TrialState.FAIL
        assert "trainer.timeout" in trial.user_attrs["cause"]
    assert {r.info.status for r in campaign.runs() if "mlflow.parentRunId" in r.data.tags} == {"FAILED"}
    record(f"`trainer.timeout`, launcher {launcher}", tried=2)


@long_only
def test_a_workers_memory_is_limited(campaign: Campaign, record: Record) -> None:
    """Of address space each process gets some gigabytes: enough for a small network, and not for a large one."""
    line = [each for each in settings() if not each.startswith("model.hidden_dim")]
    line += ["hydra/launcher=processes", *GRID, *TOLERANT, "model.hidden_dim=8,20000", "seed=1,2"]
    process = campaign.start(*line)
    resource.prlimit(process.pid, resource.RLIMIT_AS, (LIMIT, LIMIT))  # workers inherit it
    text = campaign.finish(process)
    assert "Traceback" not in text
    by_size = {8: TrialState.COMPLETE, 20000: TrialState.FAIL}
    trials = campaign.trials()
    assert [t.state for t in trials] == [by_size[t.params["model.hidden_dim"]] for t in trials]
    assert all("more memory" in t.user_attrs["cause"] for t in trials if t.state is TrialState.FAIL)
    assert not [r for r in campaign.runs() if r.info.status == "RUNNING"]
    record("a worker's address space is limited, and too small for the network", tried=2)


@long_only
def test_a_run_hangs_in_a_batch(campaign: Campaign, record: Record) -> None:
    campaign.app = ROOT / "tests" / "apps" / "hangs.py"
    line = [*settings(), "hydra/launcher=processes", *GRID, *TOLERANT, "trainer.timeout=10"]
    text = campaign.finish(campaign.start(*line, "seed=1,2,3", PYTHONPATH=str(ROOT)))
    assert "Traceback" not in text
    by_seed = {t.params["seed"]: t for t in campaign.trials()}
    assert [by_seed[seed].state.name for seed in (1, 2, 3)] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert "trainer.timeout: the run has not ended within 10 s; it hung" in by_seed[2].user_attrs["cause"]
    assert len(campaign.trials()) == 3, "it is not tried again"
    assert sorted(r.info.status for r in campaign.runs()) == ["FINISHED", "FINISHED", "FINISHED", "KILLED"]
    record("a run hangs within a batch, with `trainer.timeout`, launcher processes")
