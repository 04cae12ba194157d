# mypy: allow-untyped-defs, allow-incomplete-defs
"""Forecasts of the next tick's demand, updated by each demand: for the rules, and for whole series.

S Holt 1957 and Winters 1960, in Hyndman and Athanasopoulos 2021, "Forecasting: principles and practice", 8; C Croston 1972, "Forecasting
and stock control for intermittent demands"; B Syntetos and Boylan 2005, "The accuracy of intermittent demand estimates"; M Hyndman and
Koehler 2006, "Another look at measures of forecast accuracy". With d the demand, l the level, a = smoothing:
ses l' = l + a (d - l); holt_winters, additive, l' = a (d - s) + (1 - a)(l + t), t' = b (l' - l) + (1 - b) t,
s' = g (d - l - t) + (1 - g) s, forecast l' + t' + s of the next tick; croston l/i, size l and interval i smoothed where d > 0;
sba (1 - a/2) l/i; ar, AR(1) by exponentially weighted moments, m + (c/v)(d - m), |c/v| < 1; moving, the mean of the last `window` demands.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from envs.supply_chain.params import CROSTON, FORECASTS, HOLT_WINTERS, SBA, SES
from envs.supply_chain.state import NOTE, note_
from marl.compiled import rule
from marl.errors import UserError
from marl.game import F8


class _Settings(NamedTuple):
    forecast: int
    smoothing: float
    trend: float
    seasonal: float
    season_slots: int


class _Beliefs(NamedTuple):
    note: F8
    season: F8


@rule
def begin_belief(p, s, b, j, k, mean):
    """What is believed before the first demand: a level of the mean, no trend, no season, a demand every tick."""
    for c in range(note_.level, len(NOTE)):
        s.note[b, j, k, c] = 0.0
    for c in (note_.level, note_.size, note_.mean, note_.last):
        s.note[b, j, k, c] = mean
    s.note[b, j, k, note_.gap] = s.note[b, j, k, note_.since] = 1.0
    for c in range(s.season.shape[3]):
        s.season[b, j, k, c] = 0.0


@rule
def learn(p, s, b, j, k, t, d):
    """Take demand d of tick t in and return the forecast of tick t + 1. The forecast `moving` is not made here."""
    a, level = p.smoothing, s.note[b, j, k, note_.level]
    if p.forecast == SES:
        s.note[b, j, k, note_.level] = level + a * (d - level)
        return level + a * (d - level)
    if p.forecast == HOLT_WINTERS:
        now, slope = t % p.season_slots, s.note[b, j, k, note_.trend]
        new = a * (d - s.season[b, j, k, now]) + (1.0 - a) * (level + slope)
        s.season[b, j, k, now] = p.seasonal * (d - level - slope) + (1.0 - p.seasonal) * s.season[b, j, k, now]
        s.note[b, j, k, note_.trend] = p.trend * (new - level) + (1.0 - p.trend) * slope
        s.note[b, j, k, note_.level] = new
        return max(0.0, new + s.note[b, j, k, note_.trend] + s.season[b, j, k, (t + 1) % p.season_slots])
    if p.forecast == CROSTON or p.forecast == SBA:
        if d > 0:
            s.note[b, j, k, note_.size] += a * (d - s.note[b, j, k, note_.size])
            s.note[b, j, k, note_.gap] += a * (s.note[b, j, k, note_.since] - s.note[b, j, k, note_.gap])
            s.note[b, j, k, note_.since] = 0.0
        s.note[b, j, k, note_.since] += 1.0
        rate = s.note[b, j, k, note_.size] / s.note[b, j, k, note_.gap]
        return rate if p.forecast == CROSTON else (1.0 - 0.5 * a) * rate
    return autoregress(p, s, b, j, k, d)


@rule
def autoregress(p, s, b, j, k, d):
    """AR(1) by moments that forget: mean, variance and covariance with the demand before."""
    a, mean = p.smoothing, s.note[b, j, k, note_.mean]
    gap, before = d - mean, s.note[b, j, k, note_.last] - mean
    s.note[b, j, k, note_.variance] += a * (gap * gap - s.note[b, j, k, note_.variance])
    s.note[b, j, k, note_.covariance] += a * (gap * before - s.note[b, j, k, note_.covariance])
    s.note[b, j, k, note_.mean] = mean + a * gap
    s.note[b, j, k, note_.last] = d
    variance = s.note[b, j, k, note_.variance]
    slope = s.note[b, j, k, note_.covariance] / variance if variance > 0.0 else 0.0
    slope = min(max(slope, -0.99), 0.99)
    return max(0.0, s.note[b, j, k, note_.mean] + slope * (d - s.note[b, j, k, note_.mean]))


@rule
def _series(p, s, demand, out):
    for t in range(len(demand)):
        out[t + 1] = learn(p, s, 0, 0, 0, t, demand[t])


def forecasts(
    demand: npt.ArrayLike,
    method: str,
    smoothing: float = 0.2,
    trend: float = 0.05,
    seasonal: float = 0.1,
    period: int = 7,
    window: int = 13,
    start: float | None = None,
) -> F8:
    """One-step-ahead forecasts [T + 1] of a series [T]: entry t is made before demand t is seen. `start`: the mean believed at first.

    Without one it is the first demand. Raises UserError for an unknown method.
    """
    d = np.ascontiguousarray(demand, np.float64)
    if method not in FORECASTS:
        raise UserError(f"forecast = {method!r}: legal are {', '.join(FORECASTS)}")
    first = float(d[0]) if start is None else start
    out = np.full(len(d) + 1, first)
    if method == "moving":
        padded = np.concatenate([np.full(window, first), d])
        return np.asarray(np.convolve(padded, np.full(window, 1 / window), "valid"))
    p = _Settings(FORECASTS.index(method), smoothing, trend, seasonal, period if method == "holt_winters" else 1)
    s = _Beliefs(np.zeros((1, 1, 1, len(NOTE))), np.zeros((1, 1, 1, p.season_slots)))
    for name, value in (("level", first), ("size", first), ("mean", first), ("last", first), ("gap", 1.0), ("since", 1.0)):
        s.note[0, 0, 0, getattr(note_, name)] = value
    _series(p, s, d, out)
    return out


def mase(demand: npt.ArrayLike, forecast: npt.ArrayLike) -> float:
    """Mean absolute scaled error: of forecasts [T] of a series [T], over that of the last demand as forecast (M). NaN for a constant."""
    d, f = np.asarray(demand, np.float64), np.asarray(forecast, np.float64)
    naive = np.abs(np.diff(d)).mean()
    return float(np.abs(f - d)[1:].mean() / naive) if naive > 0 else float("nan")
