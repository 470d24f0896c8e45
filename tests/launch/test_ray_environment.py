"""Which environment variables a job on a cluster gets of the program's."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import os
os.environ.update(KERAS_BACKEND="torch", PGHOST="here", RAY_AUTH_TOKEN="secret", OMP_NUM_THREADS="1", GIVEN="again")
from rnn_sweep.launch.ray import passed_on
print(dict(sorted(passed_on().items())))
"""


def test_those_by_name_and_those_that_the_program_has_set_itself() -> None:
    ours = ("KERAS_BACKEND", "MLFLOW_", "PG", "RNN_SWEEP_")
    given = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    given |= {"HOME": "/home/given", "GIVEN": "again", "MLFLOW_TRACKING_URI": "sqlite:///here.db"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=given, capture_output=True, text=True, check=True)
    expected = {"KERAS_BACKEND": "torch", "MLFLOW_TRACKING_URI": "sqlite:///here.db", "PGHOST": "here"}
    assert done.stdout.strip() == str(expected)
