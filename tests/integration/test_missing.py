"""An extra that is not installed: one message that says which, before there is a study."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.sweep.conftest import ROOT, Sweeps

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("package", "override", "extra"),
    [
        ("ray", "hydra/launcher=ray", "ray"),
        ("psycopg", "hydra.sweeper.storage=postgresql://me:s3cret@127.0.0.1:1/db", "postgresql"),
        ("redis", "hydra.sweeper.storage=redis://127.0.0.1:1/0", "redis"),
        ("grpc", "hydra.sweeper.storage=grpc://127.0.0.1:1", "grpc"),
    ],
)
def test_an_extra_that_is_missing(
    sweeps: Sweeps, tmp_path_factory: pytest.TempPathFactory, package: str, override: str, extra: str
) -> None:
    hidden = tmp_path_factory.mktemp("hidden")
    _hide(hidden, package)
    path = os.pathsep.join([str(hidden), str(ROOT)])
    message = sweeps.refused("sphere/app.py", "x=interval(-5,5)", override, PYTHONPATH=path, COLD="1")
    assert f"pip install 'rnn-sweep[{extra}]'" in message
    assert f"No module named '{package}" in message
    assert "s3cret" not in message


def _hide(folder: Path, package: str) -> None:
    (folder / package).mkdir()
    (folder / package / "__init__.py").write_text(f"raise ModuleNotFoundError(\"No module named '{package}'\")\n")
