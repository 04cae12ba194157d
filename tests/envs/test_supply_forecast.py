"""Forecasters: by hand, and against statsmodels where it is installed."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from envs.supply_chain.forecast import forecasts, mase
from marl import UserError

SERIES = np.random.default_rng(0).gamma(4.0, 5.0, 120) + 10 * np.sin(2 * np.pi * np.arange(120) / 7)


def test_by_hand() -> None:
    assert forecasts([4, 8, 6], "moving", window=2, start=4) == pytest.approx([4, 4, 6, 7])
    assert forecasts([4, 8, 6], "ses", smoothing=0.5) == pytest.approx([4, 4, 6, 6])
    # Croston: 8 after one tick, nothing, 4 after two: size 8 -> 6, interval 1 -> 1.5
    assert forecasts([8, 0, 4], "croston", smoothing=0.5) == pytest.approx([8, 8, 8, 4])
    assert forecasts([8, 0, 4], "sba", smoothing=0.5, start=8) == pytest.approx([8, 6, 6, 3])
    assert forecasts([5.0] * 9, "ar") == pytest.approx([5.0] * 10)
    with pytest.raises(UserError, match="forecast = 'oracle': legal are moving, ses"):
        forecasts([1, 2], "oracle")


def test_scaled_errors() -> None:
    assert mase([1, 2, 4], [0, 1, 2]) == pytest.approx(1.5 / 1.5)
    naive = np.concatenate([[SERIES[0]], SERIES[:-1]])
    assert mase(SERIES, naive) == pytest.approx(1.0)
    assert np.isnan(mase([3, 3, 3], [3, 3, 3]))
    assert mase(SERIES, forecasts(SERIES, "holt_winters", smoothing=0.1, seasonal=0.2)[:-1]) < mase(SERIES, forecasts(SERIES, "ses")[:-1])


def test_an_autoregression_finds_its_slope() -> None:
    generator, wave = np.random.default_rng(1), np.zeros(4_000)
    for t in range(1, 4_000):
        wave[t] = 0.7 * wave[t - 1] + generator.normal()
    found = forecasts(wave + 20, "ar", smoothing=0.02)[:-1]
    error, least = np.mean((found - wave - 20)[500:] ** 2), 1.0
    assert least < error < 1.1 and error < np.mean(np.diff(wave)[500:] ** 2)


@pytest.mark.parametrize("method", ["ses", "holt_winters"])
def test_equals_statsmodels(method: str) -> None:
    holtwinters = pytest.importorskip("statsmodels.tsa.holtwinters", reason="statsmodels is not installed")
    options = {"initialization_method": "known", "initial_level": SERIES[0]}
    fixed = {"smoothing_level": 0.2}
    if method == "holt_winters":
        options |= {"trend": "add", "seasonal": "add", "seasonal_periods": 7, "initial_trend": 0.0, "initial_seasonal": [0.0] * 7}
        fixed |= {"smoothing_trend": 0.05, "smoothing_seasonal": 0.1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = holtwinters.ExponentialSmoothing(SERIES, **options).fit(optimized=False, **fixed).fittedvalues
    assert forecasts(SERIES, method)[:-1] == pytest.approx(theirs)
