"""Characters of a text file: at each step the next one is to be told, as in Karpathy's char-rnn (2015)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rnn_sweep.config import DataConfig
from rnn_sweep.data.checking import held_out
from rnn_sweep.data.family import Array, Arrays, Option, Options, check_memory
from rnn_sweep.errors import UserError


@dataclass(frozen=True)
class Text:
    """Windows x [N, T, V] uint8, one-hot over the V characters of the file; labels [N, T], the next characters.

    Windows follow one another without overlap; the last ones are the test part, those before them validation.
    """

    name: str = "text"
    tasks: tuple[str, ...] = ("classification",)
    options: Mapping[str, Option] = field(
        default_factory=lambda: {
            "file": Option(None),
            "length": Option(100, 1, 100_000),
            "test_size": Option(0.1, 0),
        }
    )

    def size(self, options: Options) -> None:
        """The length of the file is not known beforehand."""

    def open(self, config: DataConfig, options: Options) -> Arrays:
        """Read the file; a file that is no text, or too short, is a UserError."""
        file, length = options["file"], options["length"]
        vocabulary, codes = np.unique(_characters(file), return_inverse=True)
        windows = (len(codes) - 1) // length
        if windows < 3:
            needed = 3 * length + 1
            raise UserError(
                f"data.file must have at least {needed} characters for three windows of data.length={length},"
                f" got {len(codes)} in '{file}'"
            )
        if len(vocabulary) < 2:
            raise UserError(f"data.file must have at least two different characters, got one in '{file}'")
        rest = windows - held_out("data.test_size", options["test_size"], windows, self.name)
        first = rest - held_out("data.val_size", config.val_size, rest, self.name)
        parts = [range(first), range(first, rest), range(rest, windows)]
        if config.limit is not None:  # before the characters become vectors
            parts = [part[: config.limit] for part in parts]
        what = f"data.file='{file}' with data.limit={config.limit}"
        check_memory(what, sum(map(len, parts)) * length * len(vocabulary))
        one_hot = np.eye(len(vocabulary), dtype=np.uint8)
        read, told = codes[: windows * length], codes[1 : windows * length + 1]
        (x, y), val, (x_test, y_test) = (
            (one_hot[_rows(read, length, part)], _rows(told, length, part)) for part in parts
        )
        return Arrays(x, y, x_test, y_test, outputs=len(vocabulary), validation=val)


def _characters(file: Path) -> Array:
    """The file's characters as numbers of Unicode."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"data.file must be a file that can be read, got '{file}': {error.strerror}") from error
    except UnicodeDecodeError as error:
        where = f"'{file}': byte {error.start}: {error.reason}"
        raise UserError(f"data.file must be a text in UTF-8, got {where}") from error
    if not text:
        raise UserError(f"data.file must not be empty, got '{file}'")
    if "\0" in text:
        raise UserError(f"data.file must be a text, got '{file}', whose character {text.index(chr(0))} is a zero byte")
    return np.frombuffer(text.encode("utf-32-le"), "<u4")


def _rows(codes: Array, length: int, part: range) -> Array:
    return codes.reshape(-1, length)[part.start : part.stop]


FAMILY = Text()
