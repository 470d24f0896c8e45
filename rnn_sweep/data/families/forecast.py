"""Forecasts: the next values of a measured series, from a window of those before.

The series ship with statsmodels (``statsmodels.datasets``), whose pages name their sources.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rnn_sweep.config import DataConfig
from rnn_sweep.data import baselines
from rnn_sweep.data.checking import held_out
from rnn_sweep.data.family import Array, Arrays, Option, Options
from rnn_sweep.errors import UserError

SERIES: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "sunspots": ("sunspots", lambda table: table["SUNACTIVITY"]),
    "co2": ("co2", lambda table: table["co2"].ffill()),
    "nile": ("nile", lambda table: table["volume"]),
    "elnino": ("elnino", lambda table: table.drop(columns="YEAR").to_numpy().ravel()),
    "unemployment": ("macrodata", lambda table: table["unemp"]),
    "inflation": ("macrodata", lambda table: table["infl"]),
}
"""Module of ``statsmodels.datasets``, and its table made one series in time's order; gaps repeat the last value."""


@dataclass(frozen=True)
class Forecast:
    """Windows x [N, window, 1] float32 and the values that follow them, [N, horizon], in the order of time.

    The last values of the series are told in the test part only, those before them in validation only; what a window
    there reads may be of an earlier part, which is known by then. Values are standardised: less the mean and by the
    standard deviation of what training sees.
    """

    name: str = "forecast"
    tasks: tuple[str, ...] = ("regression",)
    options: Mapping[str, Option] = field(
        default_factory=lambda: {
            "series": Option("sunspots", choices=tuple(SERIES)),
            "window": Option(24, 1, 100_000),
            "horizon": Option(1, 1, 10_000),
            "test_size": Option(0.2, 0),
        }
    )

    def size(self, options: Options) -> None:
        """The length of a series shows when it is opened."""

    def open(self, config: DataConfig, options: Options) -> Arrays:
        """Cut the series into windows; one that is too short for three parts is a UserError."""
        series = read(options["series"])
        window, horizon = options["window"], options["horizon"]
        values = len(series) - window
        if values < 3 * horizon:
            most = len(series) - 3 * horizon
            raise UserError(
                f"data.window must leave values for three forecasts of data.horizon={horizon}: at most {most} of the"
                f" {len(series)} values of data.series={options['series']}, got {window}"
            )
        # Windows are counted by their first told value. No value is told in two parts: the windows between, whose
        # values would be, belong to none.
        windows = values - horizon + 1
        test = held_out("data.test_size", options["test_size"], windows - horizon + 1, self.name)
        rest = windows - test - (horizon - 1)
        validation = held_out("data.val_size", config.val_size, max(rest - (horizon - 1), 0), self.name)
        train = rest - validation - (horizon - 1)
        seen = series[: train + window + horizon - 1]
        scaled = ((series - seen.mean()) / max(float(seen.std()), 1e-12)).astype(np.float32)
        cut = np.lib.stride_tricks.sliding_window_view(scaled, window + horizon)
        x, y = cut[:, :window, None].copy(), cut[:, window:].copy()
        first, last = slice(rest - validation, rest), slice(windows - test, windows)
        told = (x[first], y[first])
        return Arrays(x[:train], y[:train], x[last], y[last], horizon, validation=told, naive=_last_value)


def read(name: str) -> Array:
    """A series of :data:`SERIES`, float64.

    Raises:
        UserError: statsmodels is not installed.
    """
    import importlib

    module, values = SERIES[name]
    try:
        # statsmodels carries no type information.
        source = importlib.import_module(f"statsmodels.datasets.{module}")
    except ImportError as error:
        hint = "install it with: pip install 'rnn-sweep[forecast]'"
        raise UserError(f"data.name=forecast needs statsmodels ({error}); {hint}") from error
    return np.asarray(values(source.load_pandas().data), np.float64)


def _last_value(y_train: Array, x_test: Array, y_test: Array) -> Mapping[str, float]:
    """Always the last value that was read."""
    return baselines.squared_error(x_test[:, -1:, 0], y_test)


FAMILY = Forecast()
