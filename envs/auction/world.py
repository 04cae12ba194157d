"""The market of mode advertising: what is true of advertisers, creatives, segments and channels, drawn once from the seed `env.world`."""

from __future__ import annotations

from functools import lru_cache
from math import inf
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from marl.game import F8, I8

CELLS = 1024
"""Entries of a quantile table, and of the table that draws an impression's cell: 10 random bits each."""
CHANNELS = ("search", "social", "display")
CHANNEL_CLICK = (1.5, 1.0, 0.5)
"""Click rate of a channel over the mean, ours: search is clicked most, display least."""


DEMOGRAPHICS = (
    "age_18_24", "age_25_34", "age_35_44", "age_45_54", "age_55_up", "women", "men", "income_low", "income_lower_middle", "income_middle",
    "income_upper_middle", "income_high", "into_sports", "into_technology", "into_fashion", "into_travel", "into_food", "into_finance",
)  # fmt: skip
"""Of users: shares of five ages, of two genders, of five incomes, and who has which of six interests."""


class World(NamedTuple):
    click: F8  # [A, C, S] clicks per exposure of a fresh creative
    sale: F8  # [A, C, S] conversions per click
    channel: F8  # [H] factor on clicks, share-weighted mean 1
    cell_of: I8  # [1024] cell segment x H + channel of an impression
    cell_share: F8  # [S, H] share of impressions
    safety: F8  # [A, C, H] brand safety of a creative in a channel, in [0, 1]
    worth: F8  # [A] $ a conversion
    profile: F8  # [S, 18] demographics of a segment


@lru_cache(maxsize=64)
def world(
    seed: int, n: int, creatives: int, segments: int, channels: int, categories: int,
    click: tuple[float, float], sale: tuple[float, float], worth: tuple[float, float],
) -> World:  # fmt: skip
    """Click rates uniform in their range, conversion rates and values lognormal, shares of segments Dirichlet(4), safety Beta(8, 2).

    Advertisers of one category share the rates of their creatives, and differ by their value of a conversion.
    """
    g = np.random.default_rng([7, seed])
    kinds = np.arange(n) % categories if categories > 1 else np.arange(n)
    rates = g.uniform(*click, (kinds.max() + 1, creatives, segments))[kinds]
    spread = np.exp(sale[1] * g.standard_normal((kinds.max() + 1, creatives, segments)) - sale[1] ** 2 / 2)[kinds]
    values = worth[0] * np.exp(worth[1] * g.standard_normal(n) - worth[1] ** 2 / 2)
    shares = np.outer(g.dirichlet(np.full(segments, 4.0)), g.dirichlet(np.full(channels, 8.0)))
    factor = np.array(CHANNEL_CLICK[:channels])
    factor = factor / (factor * shares.sum(0)).sum()
    edges = np.rint(np.cumsum(shares.ravel()) * CELLS).astype(np.int64)
    cell_of = np.searchsorted(edges, np.arange(CELLS), side="right")
    safety = g.beta(8.0, 2.0, (n, creatives, channels))
    ages, gender, income = (g.dirichlet(np.full(k, 2.0), segments) for k in (5, 2, 5))
    profile = np.concatenate([ages, gender, income, g.beta(2.0, 3.0, (segments, 6))], 1)
    found = World(
        np.minimum(rates, 1.0),
        np.minimum(sale[0] * spread, 1.0),
        factor,
        cell_of.astype(np.int64),
        _counted(cell_of, shares),
        safety,
        values,
        profile,
    )
    for table in found:
        table.flags.writeable = False
    return found


def _counted(cell_of: I8, shares: F8) -> F8:
    """Shares as the table of cells has them, [S, H]."""
    return np.bincount(cell_of, minlength=shares.size).reshape(shares.shape) / CELLS


@lru_cache(maxsize=64)
def unit_quantiles(sigma: float) -> F8:
    """Quantile table [1024] of the lognormal law with mean 1 and this sd of the logarithm: an entry is the mean of its cell."""
    if sigma == 0:
        return np.ones(CELLS)
    law = NormalDist()
    edges = [-inf, *(law.inv_cdf(i / CELLS) for i in range(1, CELLS)), inf]
    return np.asarray(CELLS * np.diff([law.cdf(edge - sigma) for edge in edges]))
