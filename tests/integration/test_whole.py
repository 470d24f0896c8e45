"""What a team has: the study and MLflow's server on one PostgreSQL, and sweeps of the training task that use both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests import warm
from tests.conftest import ROOT
from tests.integration import services
from tests.integration.conftest import Load
from tests.tracking.test_tracking_server import get, serving

pytestmark = pytest.mark.slow


def test_sweepers_record_on_a_server(
    database: str, postgresql: services.PostgreSQL, load: Load, tmp_path: Path
) -> None:
    """Two sweepers, each with its trials in threads of its own process."""
    postgresql.sql("CREATE DATABASE mlflow")
    (tmp_path / "server").mkdir()
    with serving(tmp_path / "server", "server", "--backend-store-uri", postgresql.url("mlflow")) as address:
        words = ["-m", "hydra/sweeper=optuna", "experiment=smoke", "trainer.epochs=1", "hydra/launcher=threads"]
        words += ["hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=2", "hydra.sweeper.study_name=w"]
        words += [f"hydra.sweeper.storage={database}", f"tracking.uri={address}", "hydra.sweeper.report=false"]
        both = [
            warm.Popen(
                [sys.executable, str(ROOT / "run.py"), *words, f"hydra.sweep.dir=out{i}"],
                cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True,
            )
            for i in range(2)
        ]  # fmt: skip
        outs = [process.communicate(timeout=200)[0] for process in both]
        assert [process.returncode for process in both] == [0, 0], outs
        trials = [t for t in load("w", database).trials if "surplus" not in t.user_attrs]
        assert sum(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in trials) == 6
        for trial in trials:
            run = json.loads(get(f"{address}/api/2.0/mlflow/runs/get?run_id={trial.user_attrs['run_id']}"))["run"]
            assert run["info"]["status"] == "FINISHED"
            tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
            assert tags["trial.number"] == str(trial.number)
            assert tags["mlflow.parentRunId"]
