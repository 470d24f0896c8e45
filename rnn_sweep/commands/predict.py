"""Labels for images, by the weights of a recorded run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rnn_sweep.commands.runs import config_of
from rnn_sweep.errors import UserError
from rnn_sweep.files import WEIGHTS_FILE

if TYPE_CHECKING:
    from rnn_sweep.data.store import IdxFamily
    from rnn_sweep.tracking.reading import Recorded
    from rnn_sweep.tracking.store import Store

Images = NDArray[np.float32]

ARRAY = "images"
"""Name of the array in an ``.npz`` file; a file with one array may call it anything."""


@dataclass(frozen=True)
class Prediction:
    """One image's label."""

    source: str
    """The file, with ``[i]`` behind it for an image of an array."""
    label: int
    probability: float


def predict(store: Store, run: Recorded, files: Sequence[Path], *, invert: bool = False) -> list[Prediction]:
    """Classify images.

    A picture becomes grey, is scaled to the size that the network was trained on, and its brightness to
    [0, 1]: bright strokes on a dark ground, as in MNIST. An array of an ``.npz`` file has the shape [N, H, W] or
    [H, W] already; integers are pixels as in the data set, floats are in [0, 1].

    Args:
        store: where the run is recorded.
        run: whose weights are used.
        files: pictures of any format that Pillow reads, and ``.npz`` files.
        invert: for dark strokes on a bright ground.

    Raises:
        UserError: the run has no weights or was not trained on images, or a file is not there, not an image, or of
            another size.
    """
    from rnn_sweep.data import FAMILIES, check
    from rnn_sweep.data.images import sequences
    from rnn_sweep.data.store import IdxFamily

    config = config_of(store, run)
    family = FAMILIES[config.data.name]
    if not isinstance(family, IdxFamily):
        raise UserError(f"RUN must be of a network that was trained on images, got one of data.name={family.name}")
    options = check(config.data)[1]
    batches = [(source, sequences(images, options)) for file in files for source, images in _read(file, family, invert)]
    return list(_classify(store, run, batches))


def _classify(store: Store, run: Recorded, batches: Sequence[tuple[str, Images]]) -> Iterator[Prediction]:
    import torch

    from rnn_sweep.models import load_weights
    from rnn_sweep.tracking.reading import fetch

    with tempfile.TemporaryDirectory() as folder:
        model = load_weights(fetch(store, run, WEIGHTS_FILE, Path(folder)))
    with torch.no_grad():
        for source, images in batches:
            best = model(torch.from_numpy(images)).softmax(dim=-1).max(dim=-1)
            for i, (label, probability) in enumerate(zip(best.indices.tolist(), best.values.tolist(), strict=True)):
                yield Prediction(f"{source}[{i}]" if source.endswith(".npz") else source, label, probability)


def _read(file: Path, family: IdxFamily, invert: bool) -> Iterator[tuple[str, Images]]:
    """Images [N, H, W] in [0, 1]."""
    if not file.is_file():
        raise UserError(f"FILE must be an image or an .npz file: there is no file '{file}'")
    images = (_array if file.suffix.lower() == ".npz" else _picture)(file, family)
    yield str(file), np.ascontiguousarray(1 - images if invert else images, dtype=np.float32)


def _picture(file: Path, family: IdxFamily) -> Images:
    from PIL import Image, UnidentifiedImageError

    size = family.train_images.shape[1:]
    try:
        with Image.open(file) as image:
            image.load()
            flat = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image.convert("RGBA"))
            grey = flat.convert("L").resize((size[1], size[0]), Image.Resampling.LANCZOS)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"FILE '{file}' is not an image that can be read: {error}") from None
    return np.asarray(grey, dtype=np.float32)[None] / np.float32(255)


def _array(file: Path, family: IdxFamily) -> Images:
    size = family.train_images.shape[1:]
    try:
        with np.load(file, allow_pickle=False) as arrays:
            names = list(arrays)
            if ARRAY not in names and len(names) != 1:
                raise UserError(f"FILE '{file}' must hold an array named {ARRAY!r}; it holds {', '.join(names)}")
            array = arrays[ARRAY if ARRAY in names else names[0]]
    except (OSError, ValueError) as error:
        raise UserError(f"FILE '{file}' is not an .npz file that can be read: {error}") from None
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or array.shape[1:] != size or array.dtype.kind not in "uif":
        wanted = f"numbers of shape [N, {size[0]}, {size[1]}]"
        raise UserError(f"FILE '{file}' must hold {wanted}; got {array.dtype} of shape {list(array.shape)}")
    features = array.astype(np.float32) * (1.0 if array.dtype.kind == "f" else family.scale)
    if not np.isfinite(features).all() or features.min(initial=0) < 0 or features.max(initial=0) > 1.0001:
        low, high = float(features.min()), float(features.max())
        raise UserError(f"FILE '{file}' must hold floats in [0, 1] or pixels; after scaling they are {low} to {high}")
    return np.asarray(features, dtype=np.float32)
