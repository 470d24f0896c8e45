from __future__ import annotations

import pytest
import torch

from rnn_sweep.engines.torch_.dropout import draw_mask


@pytest.mark.parametrize("keep", [1e-6, 0.1, 0.5, 0.73, 0.999, 1 - 1e-6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_as_many_stay_as_shall_and_each_by_its_own_chance(keep: float, dtype: torch.dtype) -> None:
    count = 401_003  # no multiple of what one random word gives
    mask = torch.full((count,), torch.nan, dtype=dtype)
    draw_mask(mask, keep, torch.Generator().manual_seed(0))
    assert set(mask.unique().tolist()) <= {0.0, float(torch.tensor(1 / keep, dtype=dtype))}
    kept = (mask > 0).double()
    off = 5 * (keep * (1 - keep) / count) ** 0.5 + 2**-16  # five standard deviations, and the probability's grain
    assert abs(float(kept.mean()) - keep) < off
    for distance in (1, 2, 3, 4, 8, 128):
        both = float((kept[distance:] * kept[:-distance]).mean())
        assert abs(both - keep**2) < 2 * off, f"numbers {distance} apart stay together too often or too seldom"


def test_what_is_drawn_depends_on_the_seed_and_the_count_alone() -> None:
    def drawn(shape: tuple[int, ...], seed: int) -> torch.Tensor:
        mask = torch.empty(shape)
        draw_mask(mask, 0.5, torch.Generator().manual_seed(seed))
        return mask.flatten()

    assert torch.equal(drawn((6, 50), 1), drawn((300,), 1))
    assert not torch.equal(drawn((300,), 1), drawn((300,), 2))
