from __future__ import annotations

import torch

from rnn_sweep.lanes import Batches


def test_pixels_are_gathered_scaled_and_time_major() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (50, 7, 3), dtype=torch.uint8, generator=generator)
    y = torch.arange(50)
    index = torch.randint(50, (4, 6), generator=generator)
    batch, labels = Batches(x, y, scale=1 / 255).gather(index)
    assert batch.shape == (7, 4, 6, 3)
    torch.testing.assert_close(batch, (x[index].float() / 255).permute(2, 0, 1, 3))
    assert torch.equal(labels, index)


def test_float_data_and_batches_of_two_sizes() -> None:
    x = torch.randn(20, 5, 2)
    data = Batches(x, torch.arange(20))
    for size in (6, 2, 6):
        index = torch.arange(size).unsqueeze(0)
        assert torch.equal(data.gather(index)[0][:, 0], x[:size].transpose(0, 1))
    assert len(data) == 20
    assert torch.equal(data.slice(3, 8)[0], x[3:8].transpose(0, 1))
