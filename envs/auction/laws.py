"""Laws of a bidder's value, and what truthful bidders are expected to spend under them.

Money is in $ here; the rules count in whole micro-dollars.
"""

from __future__ import annotations

from functools import lru_cache
from math import comb, inf
from statistics import NormalDist

import numpy as np

from marl.game import F8

CELLS = 4096
"""Entries of a quantile table: one for each of so many equally likely cells."""


@lru_cache(maxsize=64)
def _unit_mean_lognormal(sigma: float) -> F8:
    """Mean of each cell of the lognormal law with mean 1: E[X; a < z < b] = Phi(b - sigma) - Phi(a - sigma)."""
    law = NormalDist()
    edges = [-inf, *(law.inv_cdf(i / CELLS) for i in range(1, CELLS)), inf]
    cells = CELLS * np.diff([law.cdf(edge - sigma) for edge in edges])
    cells.flags.writeable = False
    return np.asarray(cells)


def lognormal_quantiles(mean: float, sigma: float) -> F8:
    """Quantile table [4096] of the lognormal law with this mean ($) and standard deviation `sigma` of the logarithm.

    An entry is the mean of its cell, so the table's mean is exact and a draw of it has no transcendental function. Lost
    are the spread inside the cells, chiefly the last: no value lies above 3.8 standard deviations, and the variance is
    .05 % low at sigma = .5, .5 % at .87, 8.5 % at 1.5 and 94 % at 3. The exact draw is the law `lognormal`.
    """
    return mean * _unit_mean_lognormal(sigma)


def uniform_quantiles(width: float) -> F8:
    """Quantile table [4096] of U[0, width]."""
    return width * (np.arange(CELLS) + 0.5) / CELLS


def truthful_spend(quantiles: F8, n: int, format: str, reserve: float = 0.0, multiplier: float = 1.0) -> float:
    """Expected spend ($) an auction of one of n bidders who all bid `multiplier` times a value drawn from `quantiles` [m].

    The laws of the highest and second highest of n draws from m equally likely entries are exact differences of
    u^n and n u^(n-1) - (n-1) u^n (Krishna, "Auction Theory", appendix C). Bids below the reserve are none.
    """
    bids = multiplier * quantiles
    edge = np.arange(len(bids) + 1) / len(bids)
    if format == "all_pay":
        return float(np.mean(np.where(bids >= reserve, bids, 0.0)))
    highest = edge**n
    if format == "first":
        return float(np.sum(np.diff(highest) * np.where(bids >= reserve, bids, 0.0))) / n
    below = np.count_nonzero(bids < reserve) / len(bids)
    alone = n * below ** (n - 1) * (1 - below)
    second = n * edge ** (n - 1) - (n - 1) * highest
    return float(np.sum(np.diff(second) * np.where(bids >= reserve, bids, 0.0)) + alone * reserve) / n


def positions_spend(quantiles: F8, n: int, format: str, exposure: F8, reserve: float = 0.0) -> float:
    """Expected spend ($) an auction of one of n truthful bidders for positions with these exposures [K].

    By the laws of the order statistics: the i-th highest of n lies below the u-quantile with probability
    sum over j < i of C(n, j) (1-u)^j u^(n-j). first pays the own bid, gsp (second) the next one, vcg what its positions would lose to
    it: the i-th highest is paid (x_{i-1} - x_i) by each of the i - 1 above; all_pay as truthful_spend, in the first position's exposure.
    """
    if format == "all_pay":
        return truthful_spend(quantiles, n, format, reserve) * float(exposure[0])
    edge = np.arange(len(quantiles) + 1) / len(quantiles)
    x, total = np.append(exposure, 0.0), 0.0
    law = np.zeros(len(edge))
    above = np.zeros(len(quantiles))  # chance that the one above reaches this quantile's cell: it bids the reserve at least
    for i in range(1, min(n, len(exposure) + 1) + 1):
        law = law + comb(n, i - 1) * (1 - edge) ** (i - 1) * edge ** (n - i + 1)
        chance = np.diff(law)
        paid = float(np.sum(chance * np.where(quantiles >= reserve, quantiles, 0.0)))
        lacking = float(np.sum(above) - np.sum(chance * (quantiles >= reserve)))  # the one above is there, this one is not
        if format == "first":
            total += paid * x[i - 1]
        elif i > 1:
            total += (paid + max(lacking, 0.0) * reserve) * ((i - 1) * (x[i - 2] - x[i - 1]) if format == "vcg" else x[i - 2])
        above = chance * (quantiles >= reserve)
    if n <= len(exposure) and format != "first":  # nobody is behind the last
        total += float(np.sum(above)) * reserve * x[n - 1] * (n if format == "vcg" else 1)
    return total / n


def balancing_multiplier(quantiles: F8, n: int, format: str, reserve: float, rho: float) -> float:
    """The multiplier up to 1 at which n bidders who share it spend `rho` ($) an auction each, by bisection.

    In second price this is the fluid equilibrium for any law: a binding budget turns v into v/(1 + mu) (Balseiro,
    Besbes and Weintraub 2015), and with a common mu the spend alone decides it.
    """
    if truthful_spend(quantiles, n, format, reserve) <= rho:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if truthful_spend(quantiles, n, format, reserve, middle) <= rho else (low, middle)
    return low
