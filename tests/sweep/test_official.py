"""Configurations of the official sweeper run unchanged."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from typing import Any

import pytest
import yaml

from tests.sweep.conftest import Sweeps

pytestmark = pytest.mark.skipif(
    any(importlib.metadata.distributions(name="hydra-optuna-sweeper")),  # not by its module: ours stands in for that
    reason="the official sweeper is installed and stands for its own class",
)


def run(sweeps: Sweeps, name: str, *arguments: str) -> dict[str, Any]:
    """Run the application with one of its configurations; returns the results file."""
    sweeps.run("official/app.py", "hydra.sweep.dir=out", *arguments, f"-cn={name}")
    content: dict[str, Any] = yaml.safe_load((sweeps.folder / "out" / "optimization_results.yaml").read_text())
    return content


def test_single_objective(sweeps: Sweeps) -> None:
    found = run(sweeps, "sphere", "~z")
    study = sweeps.study("sphere")
    assert len(study.trials) == 6
    assert found["best_value"] == study.best_value
    assert found["best_params"] == study.best_params


def test_command_line_over_yaml(sweeps: Sweeps) -> None:
    found = run(sweeps, "sphere", "x=choice(0,1,2)", "y=0")
    assert found["best_params"]["x"] in (0, 1, 2)
    assert "y" not in found["best_params"]


def test_one_failure_ends_it_by_their_default(sweeps: Sweeps) -> None:
    _, err = sweeps.run("official/app.py", "hydra.sweep.dir=out", "error=true", status=1)
    assert "RuntimeError: cfg.error is True" in err
    assert len(sweeps.study("sphere").trials) == 1


def test_grid(sweeps: Sweeps) -> None:
    found = run(sweeps, "grid")
    points = {tuple(t.params.values()) for t in sweeps.study("sphere").trials}
    assert points == {(x, y, z) for x in (-1, 1) for y in (-1.0, 0.0) for z in ("foo", "bar")}
    assert found["best_value"] == 1


def test_multi_objective(sweeps: Sweeps) -> None:
    solutions = run(sweeps, "multi")["solutions"]
    assert solutions
    for one in solutions:
        for other in solutions:
            assert not (one is not other and all(a < b for a, b in zip(one["values"], other["values"], strict=True)))


def test_custom_search_space(sweeps: Sweeps) -> None:
    params = run(sweeps, "custom")["best_params"]
    assert abs(params["x"] - params["z"]) <= 0.5
    assert 0 <= params["+w"] <= 1


def test_everything_spelt_out(sweeps: Sweeps) -> None:
    run(sweeps, "whole")
    assert len(sweeps.study("whole").trials) == 5


def test_finding_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys; from hydra.core.plugins import Plugins; p = Plugins.instance();"
        "names = [c.__name__ for c in p.discover()]; assert 'OptunaSweeper' in names;"
        "heavy = {'optuna', 'numpy', 'torch', 'mlflow', 'rich', 'rnn_sweep.sweep.loop'} & set(sys.modules);"
        "assert not heavy, heavy;"
        "assert not [name for name in sys.modules if 'hydra_optuna_sweeper' in name], 'no module stands in'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
