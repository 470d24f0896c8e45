from __future__ import annotations

import pytest
import torch

from rnn_sweep.lanes.precision import _onednn, fast_products, onednn_is_fp32


def test_fast_products_are_true_fp32_and_leave_the_setting_as_it_was() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(8, 128, 128, generator=generator) for _ in range(2))
    plain = torch.bmm(a, b)
    with fast_products():
        fast = torch.bmm(a, b)
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=0)
    assert torch.equal(torch.bmm(a, b), plain)


@pytest.mark.skipif(not onednn_is_fp32(), reason="oneDNN does not multiply in fp32 on this CPU")
def test_onednns_products_are_true_fp32_where_that_was_found() -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.rand(8, 128, 128, generator=generator) for _ in range(2))
    with _onednn():
        fast = torch.bmm(a, b)
    torch.testing.assert_close(fast, torch.bmm(a, b), rtol=1e-5, atol=0)


def test_the_check_is_a_matter_of_this_machine_and_asked_once() -> None:
    assert onednn_is_fp32() is onednn_is_fp32()
