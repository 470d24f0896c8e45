"""A sweep's best model behind MLflow's own scoring server and command."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from rnn_sweep.config import DataConfig
from rnn_sweep.data import load
from tests.conftest import MODEL, STUDY
from tests.integration.services import free_port, listens, wait_until
from tests.tracking.test_tracking_server import addresses, get, serving

pytestmark = pytest.mark.slow

ADDRESS = f"models:/{MODEL}@champion"


def test_posted_images_are_answered_with_classes(swept: Path) -> None:
    data = load(DataConfig(name="digits", val_size=0.2))
    images = (data.x_test[:50].float() * data.scale).numpy()
    body = json.dumps({"inputs": images.tolist()}).encode()
    arguments = ["models", "serve", "--model-uri", ADDRESS, "--env-manager", "local", "--host", "127.0.0.1"]
    with serving(swept, *arguments) as address:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{address}/invocations", body, headers)  # noqa: S310 (our own server)
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            found = json.load(response)["predictions"]
    assert len(found) == 50
    assert all(isinstance(each, int) for each in found)
    assert (np.array(found) == data.y_test[:50].numpy()).mean() > 0.6


def test_the_command_predicts_and_unpickles_nothing(swept: Path, tmp_path: Path) -> None:
    (tmp_path / "images.json").write_text(json.dumps({"inputs": np.zeros((2, 8, 8)).tolist()}))
    line = ["models", "predict", "-m", ADDRESS, "-i", str(tmp_path / "images.json"), "--env-manager", "local"]
    mlflow = "sys.argv[0] = 'mlflow'; runpy.run_module('mlflow', run_name='__main__')"
    program = f"import runpy, sys, torch; torch.load = None; {mlflow}"
    done = subprocess.run(
        [sys.executable, "-c", program, *line], cwd=swept, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout[done.stdout.index("{") :])["predictions"]
    assert len(answer) == 2
    assert answer[0] == answer[1] in range(10)


def test_optunas_dashboard_opens_the_study(swept: Path) -> None:
    """As the documentation has it, but for the port."""
    if importlib.util.find_spec("optuna_dashboard") is None:
        pytest.skip("needs optuna-dashboard (pip)")
    port = free_port()
    program = "import sys; from optuna_dashboard._cli import main; sys.argv[0] = 'optuna-dashboard'; main()"
    line = [sys.executable, "-W", "ignore", "-c", program, f"studies/{STUDY}.journal", "--port", str(port)]
    with subprocess.Popen(line, cwd=swept, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as dashboard:
        try:
            wait_until("the dashboard", lambda: listens(port))
            studies = json.loads(get(f"http://127.0.0.1:{port}/api/studies"))["study_summaries"]
            assert [each["study_name"] for each in studies] == [STUDY]
            assert addresses(swept) <= {"127.0.0.1", "::1"}
        finally:
            dashboard.terminate()
