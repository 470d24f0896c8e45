"""Places that the configuration names, for jobs that run in folders of their own."""

from __future__ import annotations

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from rnn_sweep.api import compose
from rnn_sweep.application import HOOKS
from rnn_sweep.config import parse
from rnn_sweep.run import settings


@pytest.mark.parametrize(
    ("uri", "wanted"),
    [
        ("sqlite:///runs.db?timeout=9", "sqlite:////home/me/runs.db?timeout=9"),
        ("sqlite+pysqlite:///runs.db", "sqlite+pysqlite:////home/me/runs.db"),
        ("sqlite:////there/runs.db", "sqlite:////there/runs.db"),
        ("sqlite:///~/runs.db", "sqlite:///~/runs.db"),
        ("http://there:5000", "http://there:5000"),
    ],
)
@pytest.mark.parametrize("chdir", [True, False])
def test_relative_places_are_those_of_the_program(
    monkeypatch: pytest.MonkeyPatch, uri: str, wanted: str, chdir: bool
) -> None:
    cfg = compose("data=npz", "data.file=own.npz", "data.dir=cache", f"tracking.uri='{uri}'")
    hydra = OmegaConf.create({"job": {"chdir": chdir}, "runtime": {"cwd": "/home/me"}})
    monkeypatch.setattr(HydraConfig, "initialized", staticmethod(lambda: True))
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: hydra))
    found = parse(settings.composed(cfg, HOOKS).config)
    assert settings.read(cfg).tracking.uri == found.tracking.uri
    assert found.tracking.uri == (wanted if chdir else uri)
    assert (found.data.dir, dict(found.data.options)["file"]) == (
        ("/home/me/cache", "/home/me/own.npz") if chdir else ("cache", "own.npz")
    )
