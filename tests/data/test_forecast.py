from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rnn_sweep.config import DataConfig
from rnn_sweep.data import Dataset, load
from rnn_sweep.data.families.forecast import SERIES, read
from rnn_sweep.errors import UserError

pytest.importorskip("statsmodels", reason="needs statsmodels")


def forecast(val_size: float = 0.2, limit: int | None = None, **options: Any) -> Dataset:
    settings = tuple(sorted(options.items()))
    config = DataConfig(
        name="forecast", task="regression", batch_size=4, val_size=val_size, limit=limit, options=settings
    )
    return load(config)


@pytest.mark.parametrize("series", SERIES)
def test_every_series_opens(series: str) -> None:
    data = forecast(series=series, window=12, horizon=3)
    assert (data.steps, data.input_dim, data.outputs, data.task) == (12, 1, 3, "regression")
    for part in (data.x_train, data.x_val, data.x_test, data.y_train, data.y_val, data.y_test):
        assert part.dtype == torch.float32
        assert part.isfinite().all()


@pytest.mark.parametrize("horizon", [1, 4])
def test_parts_follow_in_time_and_no_value_is_told_in_two(horizon: int) -> None:
    window = 10
    data = forecast(series="nile", window=window, horizon=horizon)
    series = read("nile")
    # Every value of the training part, from which the standardisation is undone, occurs in the series in order.
    seen = len(data.x_train) + window + horizon - 1
    mean, deviation = series[:seen].mean(), series[:seen].std()

    def told(y: torch.Tensor) -> list[int]:
        values = y.double().numpy() * deviation + mean
        spans = np.lib.stride_tricks.sliding_window_view(series, horizon)
        (first,) = [i for i in range(len(spans) - len(y) + 1) if np.allclose(spans[i : i + len(y)], values, rtol=1e-5)]
        return list(range(first, first + len(y) + horizon - 1))

    train, val, test = told(data.y_train), told(data.y_val), told(data.y_test)
    assert train[0] == window
    assert train[-1] + 1 == val[0]
    assert val[-1] + 1 == test[0]
    assert test[-1] == len(series) - 1
    assert train[-1] + 1 == seen, "values are standardised by the training part alone"
    assert torch.equal(data.x_train[1:, -1, 0], data.y_train[:-1, 0])


def test_the_naive_answer_is_the_last_value() -> None:
    data = forecast(series="sunspots", window=12, horizon=2)
    error = (data.x_test[:, -1:, 0] - data.y_test).double().square().mean()
    assert data.baseline == {"naive/loss": pytest.approx(float(error), rel=1e-6)}


def test_limit_caps_each_part() -> None:
    data = forecast(series="co2", limit=9)
    assert [len(data.x_train), len(data.x_val), len(data.x_test)] == [9, 9, 9]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"series": "sunspot"}, "data.series must be one of sunspots, .* did you mean 'sunspots'"),
        ({"series": "nile", "window": 98}, "data.window must leave values .* at most 97 of the 100 values .*, got 98"),
        ({"horizon": 0}, r"data.horizon must lie in \[1, 10000\], got 0"),
        ({"test_size": 400}, "data.test_size must leave sequences on both sides: .* 285 .*, got 400"),
        ({"val_size": 300}, "data.val_size must leave sequences on both sides"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        forecast(**options)
