from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rnn_sweep.config import DataConfig
from rnn_sweep.data import Dataset, load
from rnn_sweep.errors import UserError

TEXT = "Dies ist ein Satz mit Ümläuten, der sich wiederholt.\r\n" * 40 + "Z" * 500


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT.encode())
    return path


def config(file: object, **options: Any) -> DataConfig:
    settings = {"file": file if file is None else str(file), "length": 20, **options}
    return DataConfig(name="text", batch_size=4, val_size=0.1, options=tuple(sorted(settings.items())))


def words(data: Dataset, part: str) -> str:
    """What the windows of a part read, one after the other."""
    vocabulary = sorted(set(TEXT))
    return "".join(vocabulary[i] for i in getattr(data, f"x_{part}").argmax(2).flatten())


def test_windows_follow_the_file_and_the_next_character_is_the_label(file: Path) -> None:
    data = load(config(file))
    windows = (len(TEXT) - 1) // 20
    assert words(data, "train") + words(data, "val") + words(data, "test") == TEXT[: windows * 20]
    assert len(data.x_test) == round(windows / 10)
    assert (data.steps, data.input_dim, data.outputs, data.per_step) == (20, len(set(TEXT)), len(set(TEXT)), True)
    assert data.x_train.dtype == torch.uint8
    assert data.y_train.dtype == torch.int64
    for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        assert torch.equal(x.argmax(2).flatten()[1:], y.flatten()[:-1])


def test_the_naive_answer_is_how_often_characters_occur(file: Path) -> None:
    data = load(config(file))
    counts = torch.bincount(data.y_train.flatten(), minlength=data.outputs) + 1
    z = sorted(set(TEXT)).index("Z")
    assert data.baseline["naive/loss"] == pytest.approx(-math.log(counts[z] / counts.sum()), rel=1e-5)
    assert data.baseline["naive/accuracy"] == 0


def test_limit_caps_the_windows(file: Path) -> None:
    whole, capped = load(config(file)), load(replace(config(file), limit=7))
    assert words(capped, "train") == words(whole, "train")[: 7 * 20]
    assert [len(capped.x_train), len(capped.x_val), len(capped.x_test)] == [7, 7, 7]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "data.file must not be empty, got '.*text.txt'"),
        (b"too short", "data.file must have at least 61 characters for three windows of data.length=20, got 9"),
        (b"a" * 500, "data.file must have at least two different characters"),
        (b"\xff\xfe" * 100, "data.file must be a text in UTF-8, got .*: byte 0: invalid start byte"),
        (b"ab\0" * 100, "data.file must be a text, got .*, whose character 2 is a zero byte"),
        (b"".join(chr(200 + i).encode() for i in range(70)), "data.test_size must leave sequences on both sides"),
    ],
)
def test_a_file_that_is_no_such_text_is_refused(file: Path, content: bytes, message: str) -> None:
    file.write_bytes(content)
    with pytest.raises(UserError, match=message):
        load(config(file))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "data.file must be the path of a file, got None"),
        ("", "data.file must be the path of a file, got ''"),
        ("nowhere.txt", "data.file must be a file that is there, got 'nowhere.txt'"),
        ("/", "data.file must be a file that is there, got '/'"),
    ],
)
def test_a_file_that_is_not_there_is_refused(given: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(config(given))
