"""The 8×8 digits that ship with scikit-learn: 1797 images, for runs that last seconds.

Source: Alpaydin and Kaynak, UCI Optical Recognition of Handwritten Digits, test file, by way of
``sklearn.datasets.load_digits``. Neighbouring images tend to be by one writer, so every sixth goes to the
test part: the last ones alone would measure writers that training hardly saw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rnn_sweep.data.store import IdxFamily, IdxFile, SourceError, encode, verified


def _fetch(files: Sequence[IdxFile], folder: Path) -> Mapping[str, bytes]:
    try:
        # scikit-learn carries no type information.
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise SourceError(f"scikit-learn: {error}") from error
    bunch = load_digits()
    images, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.uint8)
    test = np.arange(len(labels)) % 6 == 0
    arrays = (images[~test], labels[~test], images[test], labels[test])
    contents = {file.name: encode(array) for file, array in zip(FAMILY.files, arrays, strict=True)}
    return {file.name: verified(file, contents[file.name], "scikit-learn") for file in files}


FAMILY = IdxFamily(
    name="digits",
    folder="digits",
    train_images=IdxFile("train-images-idx3-ubyte", (1497, 8, 8), "98db1158d7d407642da054495e67be80", 0x8685634B),
    train_labels=IdxFile("train-labels-idx1-ubyte", (1497,), "c7bed212a8c4bedcda0695368b77f34b", 0xC2BF8CCE),
    test_images=IdxFile("test-images-idx3-ubyte", (300, 8, 8), "ecd9498208a262d0393116dba862f36a", 0x66E083B6),
    test_labels=IdxFile("test-labels-idx1-ubyte", (300,), "b7a0274da6fe04cf990c99550795bac2", 0x23715529),
    scale=1 / 16,
    outputs=10,
    fetch=_fetch,
)
