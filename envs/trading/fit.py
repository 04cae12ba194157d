"""The law of bars that is fitted to prices, and the one that is built in: its numbers are those that `fit` finds in five stocks' days."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from marl.game import F8

STATES, WINDOW = 5, 21
"""States of volatility, bars of the centred window that tells them apart."""
CHANCES = 1 / (1 + np.exp(-np.linspace(-7, 7, 43)))
"""Of the table of residuals: dense at both ends, [Q]; what is rarer than one in a thousand is as large as that."""


class Law(NamedTuple):
    """By state of volatility: mean and deviation of log returns [K], chances to go to each state [K, K]; quantiles [Q] of the residuals
    at CHANCES; the chance that a ticker has the market's residual instead of its own."""

    mean: F8
    sd: F8
    stay: F8
    quantiles: F8
    shared: float


def fit(changes: list[npt.NDArray[Any]], aligned: npt.NDArray[Any] | None = None) -> Law:
    """The law of log returns, a series [T] a ticker; `aligned` [T, M] has those of common days, for what tickers share.

    A bar's state is the quintile of the root mean square return in the 21 bars around it, of its own ticker. Tickers share a residual
    with the chance that is their mean correlation, which a mixture of copies and independent draws then has.
    """
    states, returns = [], []
    for own in changes:
        level = np.sqrt(np.convolve(own**2, np.ones(WINDOW) / WINDOW, mode="same"))
        edges = np.quantile(level, np.linspace(0, 1, STATES + 1)[1:-1])
        states.append(np.searchsorted(edges, level))
        returns.append(own)
    state, change = np.concatenate(states), np.concatenate(returns)
    mean = np.array([change[state == k].mean() for k in range(STATES)])
    sd = np.array([change[state == k].std() for k in range(STATES)])
    moves = np.zeros((STATES, STATES))
    for one in states:
        np.add.at(moves, (one[:-1], one[1:]), 1.0)
    residual = (change - mean[state]) / sd[state]
    table = np.quantile(residual, CHANCES)
    shared = 0.0
    if aligned is not None and aligned.shape[1] > 1:
        together = np.corrcoef(aligned.T)
        shared = float(together[np.triu_indices(len(together), 1)].mean())
    return Law(mean, sd, moves / moves.sum(1, keepdims=True), table, max(0.0, shared))


DAILY = Law(
    mean=np.array([0.00128, 0.00098, 0.00069, 0.00084, -0.00172]),
    sd=np.array([0.01063, 0.01365, 0.01768, 0.02314, 0.04008]),
    stay=np.array([
        [0.92869, 0.06224, 0.00577, 0.00247, 0.00083], [0.06584, 0.85926, 0.07078, 0.00329, 0.00083],
        [0.00536, 0.07417, 0.85579, 0.06263, 0.00205], [0.00206, 0.00329, 0.06584, 0.88683, 0.04198],
        [0.0, 0.00123, 0.00165, 0.04319, 0.95393],
    ]),
    quantiles=np.array([
        -4.13528, -3.98907, -3.78095, -3.52163, -3.25164, -3.05858, -2.79641, -2.54242, -2.33267, -2.14405, -1.96149, -1.77293, -1.57287,
        -1.39427, -1.20244, -1.02568, -0.85139, -0.6848, -0.52458, -0.36265, -0.19103, -0.0255, 0.1477, 0.31639, 0.49701, 0.67786, 0.86311,
        1.06188, 1.26321, 1.46463, 1.66883, 1.88336, 2.13714, 2.33354, 2.5669, 2.72447, 2.88115, 3.08809, 3.29013, 3.4112, 3.6344, 3.8266,
        4.07661,
    ]),
    shared=0.2578,
)  # fmt: skip
"""What `fit` finds in the days of AAPL, FB, GOOG, IBM and MSFT from March 2000 to March 2013."""
