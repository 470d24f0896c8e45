"""Many at once: first runs in an empty folder, sweepers on one study."""

from __future__ import annotations

from pathlib import Path

from optuna.trial import TrialState

from tests.faults.conftest import Record, long_only
from tests.faults.harness import SMALL, Campaign, check_whole, settings


@long_only
def test_eight_first_runs_at_once(campaign: Campaign, tmp_path: Path, record: Record) -> None:
    cache = str(tmp_path / "cache")
    runs = [campaign.launch(*settings(2), f"seed={number}", XDG_CACHE_HOME=cache) for number in range(8)]
    for process in runs:
        assert "Traceback" not in campaign.finish(process)
    recorded = campaign.runs()
    assert [r.info.status for r in recorded] == ["FINISHED"] * 8
    assert len({r.info.experiment_id for r in recorded}) == 1
    record("8 processes start the first run in an empty folder at once", tried=1)


@long_only
def test_four_sweepers_share_a_study(campaign: Campaign, record: Record) -> None:
    line = [*SMALL, "hydra/launcher=threads", "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=24"]
    four = [campaign.start(*line, f"hydra.sweep.dir=sweep-{number}") for number in range(4)]
    for process in four:
        assert "Traceback" not in campaign.finish(process, seconds=600)
    trials = campaign.trials()
    assert not [t for t in trials if t.state is TrialState.FAIL]
    assert len({t.params["optimizer.lr"] for t in trials}) == 24
    campaign.finish(campaign.start(*line))  # whoever ends first closes the sweep's run under the others
    check_whole(campaign, 24)
    record("4 sweepers share a study", tried=1)
