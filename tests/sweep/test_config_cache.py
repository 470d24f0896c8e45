"""The quick way to compose a job gives what Hydra's own gives; and nothing secret is in it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path

import cloudpickle  # type: ignore[import-untyped]
import pytest
from hydra import initialize_config_dir
from hydra._internal.hydra import Hydra
from hydra.conf import HydraConf
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, ReadonlyConfigError, ValidationError, read_write

from rnn_sweep.hydra_version import BASE, BEFORE_1_4
from rnn_sweep.sweep.config_cache import CachedLoader, QuickDictConfig, cached
from rnn_sweep.sweep.settings import parse_settings
from rnn_sweep.sweep.sweeper import prepare

CONF = Path(__file__).resolve().parents[1] / "apps" / "sphere" / "conf"


quick = pytest.mark.skipif(not BEFORE_1_4, reason="from Hydra 1.4 on its own loader composes")


@pytest.fixture
def app() -> Iterator[Hydra]:
    with initialize_config_dir(str(CONF), **BASE):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        yield hydra


def compose(app: Hydra, *overrides: str) -> DictConfig:
    """What a sweeper is set up with."""
    lines = ["hydra/sweeper=optuna", "hydra.mode=MULTIRUN", "hydra.job.name=app", *overrides]
    return app.config_loader.load_configuration("config", lines, RunMode.MULTIRUN)


@quick
@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["x=3", "y=0.5"],
        ["optimizer=sgd", "optimizer.momentum=0.9", "x=1"],
        ["optimizer=sgd", "+optimizer.nesterov=true", "~z", "++w='a b'"],
        ["~optimizer"],
        ["+optimizer@second=sgd"],
        ["optimizer={lr:3}", "trial={study_name:'a',number:3}"],
        ["hydra.job.num=3", "x=2"],
        ["x=${y}", "y=7"],
    ],
)
def test_same_as_hydra(app: Hydra, overrides: list[str]) -> None:
    master = compose(app, "hydra.sweep.subdir=${hydra.job.override_dirname}")
    loader = cached(app.config_loader)
    assert isinstance(loader, CachedLoader)
    expected = app.config_loader.load_sweep_config(master, list(overrides))
    for _ in range(2):  # the second time from memory
        got = loader.load_sweep_config(master, list(overrides))
        assert OmegaConf.to_yaml(got) == OmegaConf.to_yaml(expected)
        assert OmegaConf.is_struct(got) == OmegaConf.is_struct(expected)
        got.x = 11  # a job may do with its configuration what it likes


@quick
def test_copies_of_a_job_are_its_equals_and_share_nothing(app: Hydra) -> None:
    master = compose(app)
    loaders = (app.config_loader, cached(app.config_loader))
    slow, fast = (loader.load_sweep_config(master, ["x=3"]) for loader in loaders)
    assert isinstance(fast.hydra, QuickDictConfig)
    for cfg in (slow, fast):
        OmegaConf.set_readonly(cfg.hydra, True)
        copied = copy.deepcopy(cfg)
        with pytest.raises(ReadonlyConfigError):
            copied.hydra.job.name = "other"
        assert copied.hydra._get_parent() is copied
        assert OmegaConf.get_type(copied, "hydra") is HydraConf
        with read_write(copied.hydra):
            copied.hydra.job.name = "other"
            with pytest.raises(ValidationError):
                copied.hydra.job.chdir = "neither"
        assert cfg.hydra.job.name == "app"
    assert OmegaConf.to_yaml(fast.hydra) == OmegaConf.to_yaml(slow.hydra)
    travelled = pickle.loads(cloudpickle.dumps(fast))  # noqa: S301 - our own
    assert type(travelled.hydra) is DictConfig
    assert travelled == slow


def test_a_password_is_in_no_job(app: Hydra) -> None:
    url = "postgresql://me:hunter2@host/db"
    for master in (compose(app, f"hydra.sweeper.storage='{url}'"), compose(app)):
        settings = parse_settings({"storage": url})
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RNN_SWEEP_STORAGE", "")
            prepare(master, settings, url)
        job = app.config_loader.load_sweep_config(master, ["x=1"])
        assert "hunter2" not in OmegaConf.to_yaml(job) + OmegaConf.to_yaml(master)
        assert job.hydra.sweeper.storage == "postgresql://me@host/db"
        assert "trial" in job.hydra.job.config.override_dirname.exclude_keys
