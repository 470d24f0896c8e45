from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rnn_sweep.config import DataConfig
from rnn_sweep.data import FAMILIES, Dataset, load
from rnn_sweep.errors import UserError


@pytest.fixture
def config(digits_folder: Path) -> DataConfig:
    return DataConfig(name="digits", val_size=300, dir=str(digits_folder))


def rows(x: Tensor, y: Tensor) -> list[bytes]:
    return [bytes(image.flatten().tolist()) + bytes([label]) for image, label in zip(x, y.tolist(), strict=True)]


def parts(data: Dataset) -> tuple[list[bytes], list[bytes], list[bytes]]:
    return rows(data.x_train, data.y_train), rows(data.x_val, data.y_val), rows(data.x_test, data.y_test)


def test_digits_are_those_of_scikit_learn(config: DataConfig) -> None:
    from sklearn.datasets import load_digits

    data = load(config)
    assert (data.name, data.outputs, data.steps, data.input_dim) == ("digits", 10, 8, 8)
    assert data.x_train.dtype == torch.uint8
    assert data.y_train.dtype == data.y_val.dtype == data.y_test.dtype == torch.int64
    bunch = load_digits()
    known = rows(torch.from_numpy(bunch.images).to(torch.uint8), torch.from_numpy(bunch.target))
    assert sorted(row for part in parts(data) for row in part) == sorted(known)
    assert float(data.x_train.max() * data.scale) == 1.0


def test_split_is_seeded_disjoint_and_complete(digits_folder: Path, config: DataConfig) -> None:
    family = FAMILIES["digits"]
    train, val, test = parts(load(config))
    assert (len(train), len(val), len(test)) == (1197, 300, 300)
    assert parts(load(config)) == (train, val, test)
    other = parts(load(replace(config, split_seed=1)))
    assert other[0] != train
    assert sorted(other[0] + other[1]) == sorted(train + val)
    assert other[2] == test

    # Each image of the training file is in exactly one part: count by content, as some images may repeat.
    raw = (digits_folder / family.folder / family.train_images.name).read_bytes()[family.train_images.offset :]
    images = [raw[i : i + 64] for i in range(0, len(raw), 64)]
    assert sorted(row[:64] for row in train + val) == sorted(images)


def test_val_size_as_a_fraction_is_the_count_it_stands_for(config: DataConfig) -> None:
    assert parts(load(replace(config, val_size=300 / 1497))) == parts(load(config))
    assert len(load(replace(config, val_size=300.0)).x_val) == 300


def test_limit_caps_each_part_and_keeps_the_split(config: DataConfig) -> None:
    whole, capped = parts(load(config)), parts(load(replace(config, limit=100)))
    assert [len(part) for part in capped] == [100, 100, 100]
    assert capped[0] == whole[0][:100]
    assert capped[1] == whole[1][:100]
    assert capped[2] == whole[2][::3]
    assert parts(load(replace(config, limit=10_000))) == whole


def test_the_baseline_is_measured_on_the_test_part(config: DataConfig) -> None:
    data = load(config)
    common = data.y_train.bincount().argmax()
    assert data.baseline["naive/accuracy"] == pytest.approx(float((data.y_test == common).float().mean()))
    assert data.baseline["naive/loss"] == pytest.approx(2.303, abs=0.01)
    assert load(replace(config, limit=100)).baseline != data.baseline


def test_writing_to_a_tensor_leaves_the_cache_alone(config: DataConfig) -> None:
    before = load(config).x_test.clone()
    load(config).x_test.zero_()
    assert torch.equal(load(config).x_test, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "digit"}, r"data.name must be a known data set, got 'digit'; did you mean 'digits'"),
        ({"name": "cifar"}, r"data.name .* got 'cifar'; .*known: adding, copy, custom, digits, "),
        ({"val_size": 0}, r"data.val_size must leave sequences on both sides: .* 1497 .*, got 0$"),
        ({"val_size": -3}, r"data.val_size .*, got -3$"),
        ({"val_size": 1497}, r"data.val_size .*, got 1497$"),
        ({"val_size": 5000}, r"data.val_size .*, got 5000$"),
        ({"val_size": 0.0}, r"data.val_size .*, got 0.0$"),
        ({"val_size": 1e-9}, r"data.val_size must leave sequences .*, got 1e-09$"),
        ({"val_size": 1.5}, r"data.val_size must be a count or a fraction in \(0, 1\), got 1.5$"),
        ({"val_size": -0.5}, r"data.val_size must be a count or a fraction in \(0, 1\), got -0.5$"),
        ({"val_size": float("nan")}, r"data.val_size .*, got nan$"),
        ({"limit": 0}, r"data.limit must be >= 1 or null, got 0$"),
        ({"limit": -1}, r"data.limit must be >= 1 or null, got -1$"),
        (
            {"batch_size": 1198},
            r"data.batch_size .* at most the 1197 training sequences of digits .*, got 1198$",
        ),
        (
            {"batch_size": 64, "limit": 63},
            r"data.batch_size .* at most the 63 training .*data.limit=63\), got 64$",
        ),
        ({"task": "regression"}, r"data.task must be classification for data.name=digits, got 'regression'$"),
        ({"options": (("from", "rows"),)}, r"data.from is not a setting of data.name=digits; did you mean 'form'\?"),
        ({"options": (("limits", 3),)}, r"data.limits is not a setting .* did you mean 'limit'"),
        ({"options": (("form", "row"),)}, r"data.form must be one of rows, pixels, permuted; got 'row'; did you mean"),
        ({"options": (("pool", 3),)}, r"data.pool must be one of 1, 2; got 3"),
        ({"options": (("pool", True),)}, r"data.pool must be one of 1, 2; got True"),
        ({"batch_size": 0}, r"data.batch_size must be >= 1 .*, got 0$"),
    ],
)
def test_a_size_or_name_that_does_not_fit_is_refused(
    config: DataConfig, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load(replace(config, dir=str(tmp_path / "cache"), **change))
    assert not (tmp_path / "cache").exists(), "sizes are checked before anything is fetched"


def test_a_configuration_is_checked_without_torch() -> None:
    program = """
import sys
from rnn_sweep.config import DataConfig
from rnn_sweep.data import FAMILIES, check
check(DataConfig())
list(FAMILIES.values())
print([name for name in ("torch", "torchvision", "sklearn", "pandas", "statsmodels") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_warm_cache_is_opened_without_heavy_imports(config: DataConfig) -> None:
    program = f"""
import sys
from rnn_sweep.config import DataConfig
from rnn_sweep.data import load
load(DataConfig(name="digits", val_size=300, dir={config.dir!r}))
heavy = ["torchvision", "sklearn", "scipy", "filelock", "urllib.request"]
print([name for name in heavy if name in sys.modules and name not in before])
"""
    done = subprocess.run(
        [sys.executable, "-c", "import sys, torch; before = set(sys.modules)\n" + program],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "[]"
