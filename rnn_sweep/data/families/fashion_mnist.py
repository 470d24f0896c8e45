"""Fashion-MNIST: 70,000 grey pictures of clothes, 28×28 pixels, ten kinds.

Source: Xiao, Rasul and Vollgraf 2017 (arXiv:1708.07747), from the mirror that torchvision knows. What identifies the
data are the MD5 of the archives there, so the files carry none of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rnn_sweep.data import mirrors
from rnn_sweep.data.store import IdxFamily, IdxFile


def _fetch(files: Sequence[IdxFile], folder: Path) -> Mapping[str, bytes]:
    # torchvision carries no type information.
    from torchvision.datasets import FashionMNIST  # type: ignore[import-untyped]

    return mirrors.download(FashionMNIST, files)


FAMILY = IdxFamily(
    name="fashion_mnist",
    folder="FashionMNIST/raw",
    train_images=IdxFile("train-images-idx3-ubyte", (60000, 28, 28)),
    train_labels=IdxFile("train-labels-idx1-ubyte", (60000,)),
    test_images=IdxFile("t10k-images-idx3-ubyte", (10000, 28, 28)),
    test_labels=IdxFile("t10k-labels-idx1-ubyte", (10000,)),
    scale=1 / 255,
    outputs=10,
    fetch=_fetch,
)
