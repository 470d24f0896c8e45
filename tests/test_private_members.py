"""Private members of Optuna, Hydra and OmegaConf that the package cannot do without: where one changes, this fails."""

from __future__ import annotations

import ast
import inspect

import optuna
import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb import models
from optuna.storages.journal import _file

from rnn_sweep.keys import child, is_optional_dict, keys_of
from rnn_sweep.storage.identifiers import id_of_study, id_of_trial, storage_of
from tests.conftest import ROOT

ASKED = {
    "rnn_sweep/keys.py": {"_get_node"},
    "rnn_sweep/storage/identifiers.py": {"_storage", "_study_id", "_trial_id"},
    "rnn_sweep/storage/database.py": {"_trial_id"},
    "rnn_sweep/sweep/config_cache.py": {"_metadata"},
    "rnn_sweep/launch/worker.py": {"_return_value"},
}
"""By module, the private members of these libraries that it asks for."""
OF_LIBRARIES = set().union(*ASKED.values()) | {
    "_contains",
    "_is_none",
    "_is_interpolation",
    "_get_value_element_as_str",
}


def test_nobody_else_asks_for_them() -> None:
    found: dict[str, set[str]] = {}
    for path in (ROOT / "rnn_sweep").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
            if isinstance(node, ast.Attribute) and node.attr in OF_LIBRARIES and not own:
                found.setdefault(str(path.relative_to(ROOT)), set()).add(node.attr)
    assert found == ASKED


def test_optuna_knows_studies_and_trials_by_these_ids() -> None:
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(study_name="s", storage=storage)
    trial = study.ask()
    assert storage_of(study) is storage
    assert id_of_study(study) == storage.get_study_id_from_name("s")
    assert storage.get_trial(id_of_trial(trial)).number == trial.number
    assert id_of_trial(study.trials[0]) == id_of_trial(trial)


def test_optunas_storages_have_the_parts_that_ours_build_on() -> None:
    assert issubclass(_CachedStorage, optuna.storages.BaseStorage)
    tables = {name for name in vars(models) if name.endswith("Model") and not name.startswith("Base")}
    assert {"TrialModel", "TrialParamModel", "TrialUserAttributeModel", "TrialIntermediateValueModel"} <= tables
    assert {"acquire", "release"} <= set(vars(_file.BaseJournalFileLock))
    assert list(inspect.signature(_file.get_lock_file).parameters) == ["lock_obj"]


def test_hydra_has_the_parts_that_the_config_cache_builds_on() -> None:
    assert {"load_sweep_config", "_apply_overrides_to_config"} <= set(vars(ConfigLoaderImpl))
    assert "_return_value" in {field.name for field in JobReturn.__dataclass_fields__.values()}


def test_omegaconf_has_the_parts_that_copies_build_on() -> None:
    fields = set(OmegaConf.create({"a": {"b": 1}}).__dict__)
    assert {"_content", "_parent", "_metadata", "_flags_cache"} <= fields


@pytest.fixture
def cfg() -> DictConfig:
    found = OmegaConf.create({"a": {"b": 1, "c": {"d": 2}}, "e": "${a}", "f": "???", "g": None, "hydra": {"x": 1}})
    assert isinstance(found, DictConfig)
    return found


def test_keys_are_walked_without_resolving(cfg: DictConfig) -> None:
    assert list(keys_of(cfg)) == ["a", "a.b", "a.c", "a.c.d", "e", "f", "g"]
    assert list(keys_of(cfg, hydra=True))[-2:] == ["hydra", "hydra.x"]
    assert [child(cfg, key) for key in ("e", "f", "g", "nosuch")] == [None] * 4
    assert child(cfg, "a") == {"b": 1, "c": {"d": 2}}
    assert not is_optional_dict(cfg, "g")
