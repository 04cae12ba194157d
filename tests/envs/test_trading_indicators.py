"""Technical indicators against the plain formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.trading.indicators import INDICATORS, add_bar, look, open_indicators
from envs.trading.state import LAW, RING

SD, BARS = 0.01, 90


@pytest.fixture(scope="module")
def walk() -> Any:
    """(bars of a walk: high, low, close [T], money, volume [T]; columns [T, 8] as they are seen after each)."""
    g = np.random.default_rng(0)
    close = 50 * np.exp(np.cumsum(g.normal(0, SD, BARS)))
    high, low = close * (1 + 0.01 * g.random(BARS)), close * (1 - 0.01 * g.random(BARS))
    volume = g.integers(0, 50, BARS) * 1.0
    volume[:3] = 0.0
    money = volume * (high + low) / 2
    law, ring, seen = np.zeros((1, 1, len(LAW))), np.zeros((1, 1, RING)), np.zeros((1, 1, len(INDICATORS)))
    open_indicators.py_func(law, ring, 0, 0, close[0])
    rows = []
    for t in range(BARS):
        if t > 0:
            add_bar(law, ring, 0, 0, t, high[t], low[t], close[t], money[t], volume[t])
        look(law, ring, 0, 0, t, SD, seen, 0)
        rows.append(seen[0, 0].copy())
    return high, low, close, money, volume, np.array(rows)


def column(walk: Any, name: str) -> Any:
    return walk[5][:, list(INDICATORS).index(name)]


def test_means(walk: Any) -> None:
    close = walk[2]
    for t in range(BARS):
        assert column(walk, "sma_20")[t] == pytest.approx((close[t] / close[max(0, t - 19) : t + 1].mean() - 1) / SD)
    for span in (12, 26):
        mean, means = close[0], [close[0]]
        for x in close[1:]:
            mean = 2 / (span + 1) * x + (1 - 2 / (span + 1)) * mean
            means.append(mean)
        assert column(walk, f"ema_{span}") == pytest.approx((close / means - 1) / SD)
    fast, slow = (close / (1 + SD * column(walk, f"ema_{span}")) for span in (12, 26))
    assert column(walk, "macd") == pytest.approx((fast - slow) / close / SD)


def test_bollinger(walk: Any) -> None:
    close = walk[2]
    for t in range(1, BARS):
        last = close[max(0, t - 19) : t + 1]
        assert column(walk, "bollinger")[t] == pytest.approx((close[t] - last.mean()) / (2 * last.std()))
    assert column(walk, "bollinger")[0] == 0


def wilder(values: Any) -> Any:
    """Plain means of the first 14, then 13/14 of the average and 1/14 of the new."""
    found = [float(np.mean(values[: i + 1])) for i in range(14)]
    for x in values[14:]:
        found.append((13 * found[-1] + x) / 14)
    return np.array(found)


def test_rsi_and_atr(walk: Any) -> None:
    high, low, close = walk[:3]
    change = np.diff(close)
    gain, loss = wilder(np.maximum(change, 0)), wilder(np.maximum(-change, 0))
    rsi = 100 - 100 / (1 + gain[1:] / np.maximum(loss[1:], 1e-300))
    assert 100 * column(walk, "rsi_14")[2:] == pytest.approx(rsi)
    before = close[:-1]
    true = np.maximum.reduce([high[1:] - low[1:], np.abs(high[1:] - before), np.abs(low[1:] - before)])
    assert column(walk, "atr_14")[1:] == pytest.approx(wilder(true) / close[1:] / SD)


def test_vwap(walk: Any) -> None:
    close, money, volume = walk[2], walk[3].copy(), walk[4].copy()
    money[0] = volume[0] = 0
    total = np.cumsum(volume)
    some = total > 0
    vwap = np.cumsum(money)[some] / total[some]
    assert column(walk, "vwap")[some] == pytest.approx((close[some] / vwap - 1) / SD)
    assert not column(walk, "vwap")[~some].any()
