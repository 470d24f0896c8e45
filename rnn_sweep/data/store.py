"""The cache on disk: four IDX files for each family, written atomically and checked on every opening.

IDX (http://yann.lecun.com/exdb/mnist/) is a short header followed by the bytes of the array, so a file is
mapped as it stands: opening reads only what the checksum reads, and every process on the machine shares
the pages. The folder of MNIST is laid out as torchvision's ``root``: either can use what the other fetched.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shlex
import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rnn_sweep.data import images
from rnn_sweep.data.family import Arrays, Option, Options
from rnn_sweep.errors import UserError
from rnn_sweep.files import user_cache

if TYPE_CHECKING:
    from rnn_sweep.config import DataConfig

log = logging.getLogger(__name__)

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class IdxFile:
    """One array of unsigned bytes on disk.

    MD5 is the published identity; CRC-32 is several times cheaper, so it is what every opening checks. Where only the
    archive's MD5 is published, both are None: the CRC-32 of what was fetched is then noted beside it.
    """

    name: str
    shape: tuple[int, ...]
    md5: str | None = None
    crc32: int | None = None

    @property
    def offset(self) -> int:
        """Bytes of header: a magic number and the dimensions, four bytes each."""
        return 4 + 4 * len(self.shape)

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self.offset + int(np.prod(self.shape))


Fetch = Callable[[Sequence[IdxFile], Path], Mapping[str, bytes]]
"""Given the files that are missing and an empty folder to work in, return their contents by name.

Raises :class:`SourceError` when no source has them; every content returned has passed :func:`verified`.
"""


@dataclass(frozen=True)
class IdxFamily:
    """Labelled images: where they lie below the cache folder, their four files, and how to get them."""

    name: str
    folder: str
    train_images: IdxFile
    train_labels: IdxFile
    test_images: IdxFile
    test_labels: IdxFile
    scale: float
    """Features are pixels times this."""
    outputs: int
    fetch: Fetch
    tasks: tuple[str, ...] = ("classification",)
    options: Mapping[str, Option] = field(default_factory=lambda: images.OPTIONS)

    @property
    def files(self) -> tuple[IdxFile, IdxFile, IdxFile, IdxFile]:
        """Training images and labels, then those of the test part."""
        return self.train_images, self.train_labels, self.test_images, self.test_labels

    def size(self, options: Options) -> int:
        """The images of the training file."""
        return self.train_images.shape[0]

    def open(self, config: DataConfig, options: Options) -> Arrays:
        """Map the cache, which is filled on first use, and make sequences of its images."""
        x, y, x_test, y_test = open_family(self, cache_folder(config.dir))
        return Arrays(
            images.sequences(x, options), y, images.sequences(x_test, options), y_test, self.outputs, self.scale
        )


class SourceError(Exception):
    """A source did not give the data; the message says which and why."""


def cache_folder(configured: str | None) -> Path:
    """The folder of all families: ``data.dir``, or the user's cache."""
    return user_cache() if configured is None else Path(configured).expanduser()


def encode(array: Bytes) -> bytes:
    """The IDX file of an array of unsigned bytes: type 0x08, number of dimensions, big-endian sizes, data."""
    return b"".join((header(array.shape), array.data))


def header(shape: tuple[int, ...]) -> bytes:
    """What an IDX file of unsigned bytes begins with."""
    return np.array([0x0800 + len(shape), *shape], dtype=">u4").tobytes()


def verified(file: IdxFile, content: bytes, source: str) -> bytes:
    """Return ``content`` if it is ``file`` to the byte.

    Raises:
        SourceError: the MD5 differs, or the shape where no MD5 is known.
    """
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if file.md5 is None and (len(content) != file.size or not content.startswith(header(file.shape))):
        raise SourceError(f"{source}: {file.name} must be an IDX file of {list(file.shape)} bytes")
    if file.md5 is not None and found != file.md5:
        raise SourceError(f"{source}: {file.name} must have MD5 {file.md5}, got {found}")
    return content


def open_family(family: IdxFamily, root: Path) -> tuple[Bytes, Bytes, Bytes, Bytes]:
    """Map the four arrays of ``family`` below ``root``, fetching the missing ones first.

    A complete cache is only read, so it may lie on a read-only disk. The arrays are copy-on-write views:
    pages are shared between processes, and writing to an array never reaches the file.

    Raises:
        UserError: a file is corrupt, the folder cannot be written to or read, or no source has the data.
    """
    folder = root / family.folder
    try:
        if _missing(family, folder):
            _fill(family, folder)
        first, second, third, fourth = (_map(file, folder / file.name) for file in family.files)
    except OSError as error:
        rule = f"must be a folder that can be read, and written to on first use, got '{root}'"
        raise UserError(f"data.dir {rule}: {error}") from error
    return first, second, third, fourth


def _missing(family: IdxFamily, folder: Path) -> list[IdxFile]:
    return [file for file in family.files if not (folder / file.name).exists()]


def _fill(family: IdxFamily, folder: Path) -> None:
    """Fetch what is missing, one process at a time; a file appears under its name only when it is whole."""
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        missing = _missing(family, folder)
        if not missing:
            return
        log.info("Fetching %s into %s (once)", family.name, folder)
        partial = folder / ".partial"
        # The lock is ours, so whatever lies here was left by a process that was killed.
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(exist_ok=True)  # a child of the killed process may still hold it
        try:
            contents = family.fetch(missing, partial)
            for file in missing:
                (partial / file.name).write_bytes(contents[file.name])
                if file.crc32 is None:
                    _note(folder / file.name).write_text(f"{zlib.crc32(contents[file.name]):08x}")
                os.replace(partial / file.name, folder / file.name)
        except SourceError as error:
            names = ", ".join(file.name for file in missing)
            hint = f"put {names} into '{folder}', or set data.dir to a folder that has them"
            raise UserError(f"data.name={family.name} cannot be fetched ({error}); {hint}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _map(file: IdxFile, path: Path) -> Bytes:
    """Map one file and check it: its size, header and CRC-32; a shape never comes from the file."""
    size = path.stat().st_size
    aside = f"`rnn-sweep repair {shlex.quote(str(path))}` to set it aside"
    advice = f"delete the file '{path}', or {aside}, and run again: it will be fetched anew"
    if size != file.size:
        raise UserError(f"data file '{path}' is corrupt: it must have {file.size} bytes, got {size}; {advice}")
    whole: Bytes = np.memmap(path, dtype=np.uint8, mode="c")
    found, known = zlib.crc32(whole.data), file.crc32
    if known is None and not bytes(whole[: file.offset]) == header(file.shape):
        raise UserError(f"data file '{path}' is corrupt: it must be an IDX file of {list(file.shape)} bytes; {advice}")
    if known is None:  # without a note the file was put there by hand
        known = _noted(path) if _note(path).is_file() else found
    if found != known:
        rule = f"its CRC-32 must be {known:08x}, got {found:08x}"
        raise UserError(f"data file '{path}' is corrupt: {rule}; {advice}")
    return whole[file.offset :].reshape(file.shape)


def _noted(path: Path) -> int:
    try:
        return int(_note(path).read_text(), 16)
    except ValueError:
        advice = f"delete it, where '{path.name}' is known to be whole, or delete both"
        raise UserError(f"data file '{_note(path)}' must hold a CRC-32 in hexadecimal digits; {advice}") from None


def _note(path: Path) -> Path:
    """Where the CRC-32 of a file is noted that is published without one."""
    return path.with_name(f"{path.name}.crc32")
