from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rnn_sweep.config import DataConfig
from rnn_sweep.data import load
from rnn_sweep.data.images import sequences

IMAGES = np.random.RandomState(0).randint(0, 256, (3, 4, 6)).astype(np.uint8)


def test_rows_are_the_images_themselves() -> None:
    assert sequences(IMAGES, {"form": "rows", "pool": 1}) is IMAGES


def test_pixels_are_a_view_row_by_row() -> None:
    pixels = sequences(IMAGES, {"form": "pixels", "pool": 1})
    assert np.shares_memory(pixels, IMAGES)
    assert pixels.shape == (3, 24, 1)
    assert pixels[1, 7, 0] == IMAGES[1, 1, 1]


def test_permuted_pixels_are_in_one_fixed_order() -> None:
    pixels = sequences(IMAGES, {"form": "pixels", "pool": 1})
    permuted = sequences(IMAGES, {"form": "permuted", "pool": 1})
    order = [int(np.flatnonzero((pixels[:, :, 0] == permuted[:, t]).all(axis=0))[0]) for t in range(24)]
    assert sorted(order) == list(range(24))
    # A new release of numpy must not change what runs of before were trained on.
    assert order == np.random.RandomState(0).permutation(24).tolist()
    assert order[:6] == [11, 10, 22, 14, 20, 1]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_pooling_takes_the_mean_of_two_by_two(dtype: type) -> None:
    pooled = sequences(IMAGES.astype(dtype), {"form": "rows", "pool": 2})
    assert pooled.shape == (3, 2, 3)
    assert pooled.dtype == dtype
    mean = IMAGES.astype(np.float64)[2, 2:4, 4:6].mean()
    assert abs(float(pooled[2, 1, 2]) - mean) <= (0.5 if dtype is np.uint8 else 0)


def test_forms_of_a_data_set_hold_the_same_pixels(digits_folder: Path) -> None:
    def form(name: str, pool: int = 1) -> torch.Tensor:
        options = (("form", name), ("pool", pool))
        return load(DataConfig(name="digits", val_size=300, dir=str(digits_folder), options=options)).x_train

    rows, pixels, permuted = form("rows"), form("pixels"), form("permuted")
    assert torch.equal(rows.flatten(1), pixels[:, :, 0])
    assert torch.equal(permuted.sort(dim=1).values, pixels.sort(dim=1).values)
    assert not torch.equal(permuted, pixels)
    assert form("pixels", 2).shape == (1197, 16, 1)
    assert pixels.dtype == permuted.dtype == torch.uint8
