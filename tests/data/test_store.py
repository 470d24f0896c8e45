from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from rnn_sweep.config import DataConfig
from rnn_sweep.data import FAMILIES, load
from rnn_sweep.data.store import SourceError, cache_folder, encode, open_family
from rnn_sweep.errors import UserError

FAMILY = FAMILIES["digits"]
NAMES = sorted(file.name for file in FAMILY.files)


@pytest.fixture
def cache(digits_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(digits_folder, tmp_path / "cache"))


def files(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / FAMILY.folder).iterdir() if path.name != ".lock"}


def test_idx_header_is_the_published_one() -> None:
    content = encode(np.arange(6, dtype=np.uint8).reshape(1, 2, 3))
    assert content == bytes.fromhex("00000803 00000001 00000002 00000003") + bytes(range(6))


@pytest.mark.parametrize("at", [3, 5000], ids=["header", "pixels"])
def test_a_changed_byte_is_refused_and_nothing_is_deleted(cache: Path, at: int) -> None:
    path = cache / FAMILY.folder / FAMILY.train_images.name
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    rule = f"its CRC-32 must be {FAMILY.train_images.crc32:08x}, got "
    with pytest.raises(UserError, match=f"data file '{path}' is corrupt: {rule}.*; delete the file '{path}'"):
        open_family(FAMILY, cache)
    assert path.read_bytes() == content


@pytest.mark.parametrize("size", [0, 100])
def test_a_truncated_file_is_refused(cache: Path, size: int) -> None:
    path = cache / FAMILY.folder / FAMILY.test_labels.name
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError, match=f"'{path}' is corrupt: it must have 308 bytes, got {size}; delete"):
        open_family(FAMILY, cache)


def test_following_the_advice_repairs_the_cache(cache: Path, digits_folder: Path) -> None:
    kept = cache / FAMILY.folder / FAMILY.train_images.name
    stamp = kept.stat().st_mtime_ns
    (cache / FAMILY.folder / FAMILY.test_labels.name).unlink()
    open_family(FAMILY, cache)
    assert files(cache) == files(digits_folder)
    assert kept.stat().st_mtime_ns == stamp, "a file that is there is left alone"


def test_what_a_killed_process_left_is_not_trusted(cache: Path, digits_folder: Path) -> None:
    partial = cache / FAMILY.folder / ".partial"
    partial.mkdir()
    (partial / FAMILY.train_images.name).write_bytes(b"half")
    (cache / FAMILY.folder / FAMILY.train_images.name).unlink()
    open_family(FAMILY, cache)
    assert files(cache) == files(digits_folder)


def test_a_failed_fetch_is_explained_and_leaves_nothing(tmp_path: Path) -> None:
    def fetch(*_: object) -> dict[str, bytes]:
        raise SourceError("no route to anywhere")

    with pytest.raises(
        UserError,
        match=r"data.name=digits cannot be fetched \(no route to anywhere\); put .* or set data.dir",
    ):
        open_family(replace(FAMILY, fetch=fetch), tmp_path)
    assert files(tmp_path) == {}


def test_a_complete_cache_is_only_read(cache: Path) -> None:
    (cache / FAMILY.folder / ".lock").unlink(missing_ok=True)
    open_family(FAMILY, cache)
    assert sorted(path.name for path in (cache / FAMILY.folder).iterdir()) == NAMES


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=f"data.dir must be a folder .* got '{tmp_path}/file/cache'"):
        load(DataConfig(name="digits", val_size=300, dir=f"{tmp_path}/file/cache"))


def test_default_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder(None) == tmp_path / "rnn-sweep"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder(None) == tmp_path / ".cache" / "rnn-sweep"
    assert cache_folder("~/x") == tmp_path / "x"


@pytest.mark.slow
def test_two_first_runs_at_once_give_one_good_cache(tmp_path: Path, digits_folder: Path) -> None:
    program = f"""
import logging
logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s")
from rnn_sweep.config import DataConfig
from rnn_sweep.data import load
print(int(load(DataConfig(name="digits", val_size=300, dir={str(tmp_path)!r})).x_train.sum()))
"""
    runs = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    answers = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], answers
    assert len({out for out, _ in answers}) == 1
    assert sum(err.count("Fetching digits") for _, err in answers) == 1, "the others wait for the first"
    assert files(tmp_path) == files(digits_folder)


def test_a_file_published_without_a_checksum_gets_one_when_it_is_fetched(tmp_path: Path, digits_folder: Path) -> None:
    unknown = {
        f.name: replace(getattr(FAMILY, f.name), md5=None, crc32=None)
        for f in fields(FAMILY)
        if f.name.startswith(("train_", "test_"))
    }
    family = replace(FAMILY, fetch=lambda wanted, _: {f.name: files(digits_folder)[f.name] for f in wanted}, **unknown)
    open_family(family, tmp_path)
    path = tmp_path / FAMILY.folder / FAMILY.test_labels.name
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"data file '{path}' is corrupt: its CRC-32 must be 23715529, got "):
        open_family(family, tmp_path)
    content[3] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"data file '{path}' is corrupt: it must be an IDX file of \[300\] bytes"):
        open_family(family, tmp_path)


def test_fashion_mnist_without_its_mirror_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import FashionMNIST

    monkeypatch.setattr(FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(UserError, match=r"data.name=fashion_mnist cannot be fetched \(http://127.0.0.1:9/: .*\); put"):
        load(DataConfig(name="fashion_mnist", dir=str(tmp_path)))
