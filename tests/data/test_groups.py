"""Every option of ``conf/data``, and docs/data.md, which describes them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from rnn_sweep.application import HOOKS, train
from rnn_sweep.config import parse
from rnn_sweep.data import FAMILIES, check, families, load
from rnn_sweep.errors import UserError
from rnn_sweep.hydra_version import BASE
from rnn_sweep.run.decorator import validate
from rnn_sweep.run.job import Application, Place, prepared
from tests.conftest import ROOT

GROUPS = sorted(path.stem for path in (ROOT / "conf" / "data").glob("*.yaml"))
MNIST = ("mnist", "mnist_pixels", "mnist_permuted")
DOCS = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")


def composed(*overrides: str) -> DictConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(ROOT / "conf"), **BASE):
        return compose("config", list(overrides))


@pytest.fixture
def files(tmp_path: Path) -> dict[str, list[str]]:
    """Overrides that name the file which a data set needs."""
    (tmp_path / "text.txt").write_text("Once upon a time. " * 500, encoding="utf-8")
    np.savez(tmp_path / "mine.npz", X=np.ones((100, 4, 2)), y=np.arange(100) % 2)
    own = ["data._target_=tests.apps.parts.sums"]
    return {"custom": own, "text": [f"data.file={tmp_path}/text.txt"], "npz": [f"data.file={tmp_path}/mine.npz"]}


def test_there_is_an_option_for_every_family() -> None:
    assert {composed(f"data={group}").data.name for group in GROUPS} == set(FAMILIES)


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_states_all_settings_and_their_defaults(group: str, files: dict[str, list[str]]) -> None:
    config = parse(composed(f"data={group}", *files.get(group, []))).data
    family, options = check(config)
    assert {key for key, _ in config.options} == set(family.options)
    for key, option in family.options.items():
        if option.default is not None and key not in ("form", "_target_"):
            assert options[key] == option.default


@pytest.mark.parametrize("group", [group for group in GROUPS if group not in (*MNIST, "fashion_mnist")])
def test_every_option_loads(group: str, files: dict[str, list[str]]) -> None:
    if group == "forecast":
        pytest.importorskip("statsmodels", reason="needs statsmodels")
    config = parse(composed(f"data={group}", *files.get(group, []))).data
    data = load(config)
    assert len({part.shape[1:] for part in (data.x_train, data.x_val, data.x_test)}) == 1
    assert "naive/loss" in data.baseline


@pytest.mark.slow
@pytest.mark.parametrize(("group", "shape"), [("mnist_pixels", (784, 1)), ("mnist_permuted", (784, 1))])
def test_every_form_of_mnist_loads(group: str, shape: tuple[int, int], mnist_folder: Path) -> None:
    data = load(parse(composed(f"data={group}", "data.limit=100", f"data.dir={mnist_folder}")).data)
    assert (data.steps, data.input_dim) == shape


MISTAKES = [
    (["data=npz"], "data.file must be the path of a file, got None"),
    (["data=text", "data.file=nowhere.txt"], "data.file must be a file that is there, got 'nowhere.txt'"),
    (["data=adding", "data.task=classification"], "data.task must be regression for data.name=adding"),
    (["data=digits", "data.batch_size=100000"], "data.batch_size must be .* got 100000"),
    (["data=digits", "data.name=copy"], "data.form is not a setting of data.name=copy"),
    (["data=copy", "data.length=0"], r"data.length must lie in \[1, 100000\], got 0"),
]


@pytest.mark.parametrize(("overrides", "message"), MISTAKES, ids=[" ".join(m[0]) for m in MISTAKES])
def test_a_mistake_ends_before_any_work(overrides: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        prepared(Application(train, None, HOOKS), composed(*overrides), Place(tmp_path, overrides))
    with pytest.raises(UserError, match=message):
        validate(HOOKS, composed(*overrides))


def test_the_page_describes_every_option_and_every_setting() -> None:
    for group in GROUPS:
        assert f"| `{group}` |" in DOCS, group
    for family in FAMILIES.values():
        for key in family.options:
            assert f"`data.{key}`" in DOCS, key


def test_the_data_set_that_the_page_adds_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, test = re.findall(r"(?m)^```python\n(.*?)^```", DOCS, re.DOTALL)[-2:]
    (group,) = re.findall(r"(?m)^```yaml\n(.*?)^```", DOCS, re.DOTALL)
    (tmp_path / "parity.py").write_text(module, encoding="utf-8")
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path)])
    try:
        assert "parity" in FAMILIES
        scope: dict[str, Any] = {}
        exec(test, scope)  # noqa: S102 - the page's own test
        scope["test_the_label_is_the_parity_of_the_ones"]()
        cfg = composed("data=digits")
        OmegaConf.update(cfg, "data", OmegaConf.create(group), merge=False)
        assert load(parse(cfg).data).steps == 10
    finally:
        sys.modules.pop("rnn_sweep.data.families.parity", None)
