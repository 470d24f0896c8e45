"""Images as sequences: by rows, by pixels, by permuted pixels; whole or pooled."""

from __future__ import annotations

import numpy as np

from rnn_sweep.data.family import Array, Option, Options

OPTIONS = {
    "form": Option("rows", choices=("rows", "pixels", "permuted")),
    "pool": Option(1, choices=(1, 2)),
}


def sequences(images: Array, options: Options) -> Array:
    """Sequences [N, T, I] of images [N, H, W], a view where nothing has to move.

    ``form=rows`` gives [N, H, W], a row a step; ``pixels`` [N, H·W, 1], a pixel a step, row by row (Le, Jaitly and
    Hinton 2015, arXiv:1504.00941); ``permuted`` the same in one shuffled order, which is the same for all images and
    runs: neighbours are far apart. ``pool=2`` first takes the mean of each 2×2 pixels; of bytes it is rounded.
    """
    N, H, W = images.shape
    if options["pool"] == 2:
        H, W = H // 2, W // 2
        total = images.reshape(N, H, 2, W, 2).sum(axis=(2, 4), dtype=np.uint16 if images.dtype == np.uint8 else None)
        images = ((total + 2) // 4).astype(np.uint8) if images.dtype == np.uint8 else total / 4
    if options["form"] == "rows":
        return images
    pixels = images.reshape(N, H * W, 1)
    # RandomState's numbers stay the same with every release of numpy.
    return pixels if options["form"] == "pixels" else pixels[:, np.random.RandomState(0).permutation(H * W)]
