# mypy: allow-untyped-defs, allow-incomplete-defs
"""Technical indicators of an asset's mids, a bar a tick, by the usual formulas; before there are enough bars, over those there are.

SMA and Bollinger bands over 20 closes (2 population deviations), EMA of spans 12 and 26 (weight 2/(span + 1), begun at the first close) and
MACD their difference, Wilder's RSI and ATR over 14 (begun at the first change), the distance to the VWAP since the beginning (Wilder 1978,
"New Concepts in Technical Trading Systems"; Bollinger 2001). What is seen is without unit: see `INDICATORS`.
"""

from __future__ import annotations

import math

from envs.trading.ledger import MICRO
from envs.trading.state import RING, law_, mark_
from marl.compiled import apart, rule
from marl.game import Column, inf

SHORT, LONG, SPAN, WILDER = 12, 26, 20, 14
INDICATORS = {
    "sma_20": Column(-inf, inf, "price over its mean of 20 ticks, less 1, in standard deviations of a tick"),
    "ema_12": Column(-inf, inf, "the same of the exponential mean of span 12"),
    "ema_26": Column(-inf, inf, "of span 26"),
    "macd": Column(-inf, inf, "mean of span 12 less that of span 26, over the price, in standard deviations of a tick"),
    "rsi_14": Column(0, 1, "share of gains in gains and losses, Wilder's averages"),
    "bollinger": Column(-inf, inf, "distance to the mean of 20 ticks in twice their deviation"),
    "atr_14": Column(0, inf, "average true range over the price, in standard deviations of a tick"),
    "vwap": Column(-inf, inf, "price over the volume-weighted price since the beginning, less 1, in standard deviations of a tick"),
}


@rule
def open_indicators(law, ring, b, m, price):
    """The first close."""
    for i in range(law_.ema_12, law.shape[2]):
        law[b, m, i] = 0.0
    law[b, m, law_.ema_12] = law[b, m, law_.ema_26] = price
    ring[b, m, 0] = price
    law[b, m, law_.bars] = 1.0


@apart
def add_bar(law, ring, b, m, t, high, low, close, money, volume):
    """The bar of tick t - 1, whose close is mid number t: prices in $, notional and shares traded."""
    before = ring[b, m, (t - 1) % RING]
    ring[b, m, t % RING] = close
    law[b, m, law_.ema_12] += 2.0 / (SHORT + 1) * (close - law[b, m, law_.ema_12])
    law[b, m, law_.ema_26] += 2.0 / (LONG + 1) * (close - law[b, m, law_.ema_26])
    ranged = max(high - low, abs(high - before), abs(low - before))
    weight = 1.0 / min(t, WILDER)
    law[b, m, law_.gain] += weight * (max(0.0, close - before) - law[b, m, law_.gain])
    law[b, m, law_.loss] += weight * (max(0.0, before - close) - law[b, m, law_.loss])
    law[b, m, law_.atr] += weight * (ranged - law[b, m, law_.atr])
    law[b, m, law_.money] += money
    law[b, m, law_.volume] += volume
    law[b, m, law_.bars] += 1.0


@rule
def add_tick(law, ring, mark, b, m, t):
    """The bar of the tick that is over, from the asset's marks."""
    close, high, low = mark[b, m, mark_.mid], mark[b, m, mark_.high], mark[b, m, mark_.low]
    money, volume = mark[b, m, mark_.traded] / MICRO, float(mark[b, m, mark_.volume])
    add_bar(law, ring, b, m, t, max(high, close) / MICRO, min(low, close) / MICRO, close / MICRO, money, volume)


@apart
def look(law, ring, b, m, t, sd, out, at):
    """Fill columns `at` and on of out [B, M, C] with the table's, after mid number t."""
    close = ring[b, m, t % RING]
    count = min(t + 1, SPAN)
    total, squares = 0.0, 0.0
    for i in range(count):
        total += ring[b, m, (t - i) % RING] - close
    mean = total / count
    for i in range(count):
        off = ring[b, m, (t - i) % RING] - close - mean
        squares += off * off
    deviation = math.sqrt(squares / count)
    unit = 1.0 / (sd * close)
    ema_12, ema_26 = law[b, m, law_.ema_12], law[b, m, law_.ema_26]
    gain, loss = law[b, m, law_.gain], law[b, m, law_.loss]
    volume = law[b, m, law_.volume]
    out[b, m, at] = (close / (close + mean) - 1.0) / sd
    out[b, m, at + 1] = (close / ema_12 - 1.0) / sd
    out[b, m, at + 2] = (close / ema_26 - 1.0) / sd
    out[b, m, at + 3] = (ema_12 - ema_26) * unit
    out[b, m, at + 4] = gain / (gain + loss) if gain + loss > 0.0 else 0.5
    out[b, m, at + 5] = -mean / (2.0 * deviation) if deviation > 1e-12 * close else 0.0
    out[b, m, at + 6] = law[b, m, law_.atr] * unit
    out[b, m, at + 7] = (close * volume / law[b, m, law_.money] - 1.0) / sd if volume > 0.0 else 0.0
