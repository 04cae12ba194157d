"""What one of an order's action column counts: mean demands, as in the literature, or standard deviations of demand, at which one deviation
is about as much to everybody, whatever the law of demand, the lead time and the place in the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from marl.content import remembered
from marl.game import F8

if TYPE_CHECKING:
    from envs.supply_chain.params import SupplyChainParams

LEAST_SPREAD = 0.1
"""Of the mean: the least deviation that counts orders, so that steady demand can be ordered for as well."""
QUIET, LEAST_LEVEL, MOST_LEVEL = -1.0, 0.0, 3.0
"""Deviations: the safety stock of a level is from none to three of them; with a fixed cost the column begins at QUIET, below LEAST_LEVEL
nothing is ordered. Wider ranges have most of their ends where nobody would order: a fifth of this one is about right for a retailer."""
REACH = {("means", name): 2.0 for name in ("delta", "level", "quantity")} | {
    ("deviations", "delta"): 1.0,
    ("deviations", "level"): MOST_LEVEL,
    ("deviations", "quantity"): 2.0,
}
"""Largest order where `reach` is 0. A delta's adds up from tick to tick: two mean demands of it, drawn for a hundred ticks, are a stock of
twenty."""


def deviation(p: SupplyChainParams) -> F8:
    """Standard deviation of a tick's demand through each node over its mean [N, P], retailers independent unless correlated."""
    mean = p.mean
    if p.demand == "trace":
        sd = np.zeros(mean.shape)
        sd[mean.sum(1) > 0] = p.training.std(0).reshape(-1, p.products)
    else:
        laws: Mapping[str, Any] = {
            "constant": 0.0,
            "uniform": np.sqrt(mean * (mean + 1) / 3),
            "poisson": np.sqrt(mean),
            "negative_binomial": p.demand_cv * mean,
            "normal": p.demand_sd,
            "ar1": p.demand_sd / sqrt(1 - p.persistence**2),
        }
        sd = np.broadcast_to(laws[p.demand], mean.shape) * (mean > 0)
    share = p.layout.share
    alone, together = np.sqrt(share**2 @ sd**2), share @ sd
    return np.asarray((sqrt(p.correlation) * together + (1 - sqrt(p.correlation)) * alone) / p.flow)


def moves(p: SupplyChainParams) -> float:
    """Variance of the mean demand over the mean, which all nodes feel alike: of the season, of regimes and of a step."""
    other, late = p.regime_length / (p.regime_length + p.calm_length), max(0.0, 1 - p.step_at / p.horizon) if p.step_at else 0.0
    return p.amplitude**2 / 2 + (p.regime - 1) ** 2 * other * (1 - other) + (p.step_to - 1) ** 2 * late * (1 - late)


def spread(p: SupplyChainParams) -> F8:
    """Standard deviation of a tick's demand over its mean [N, P], with what moves the mean; at least LEAST_SPREAD."""
    return np.maximum(np.sqrt(deviation(p) ** 2 + moves(p)), LEAST_SPREAD)


@remembered(64)
def scale_of(p: SupplyChainParams) -> tuple[F8, F8]:
    """What an action of 1 adds and what one of 0 is, mean demands, (unit [N, P], usual [N, P]); a level's unit once more times the cover.

    In deviations a delta of x is x deviations of a tick's demand, a quantity those beyond the mean demand, and a level the mean demand
    that is covered and x deviations of it, which grow with the root of the ticks.
    """
    if p.unit == "means":
        return np.ones(p.mean.shape), np.zeros(p.mean.shape)
    each, cover = spread(p), p.cover[:, None]
    if p.action == "level":
        return each / np.sqrt(cover), np.broadcast_to(cover, each.shape)
    return each, np.full(each.shape, 1.0 if p.action == "quantity" else 0.0)


def range_of(p: SupplyChainParams) -> tuple[float, float]:
    """Least and largest order of the action column."""
    high = p.reach or REACH[p.unit, p.action]
    if p.action == "delta" or (p.unit == "deviations" and p.action == "quantity"):
        return -high, high
    if p.unit == "means":
        return 0.0, high
    return (QUIET if p.fixed > 0 else LEAST_LEVEL), high


def quiet_below(p: SupplyChainParams) -> float:
    """Action below which nothing is ordered: a choice of its own where an order has a fixed cost."""
    return LEAST_LEVEL if p.fixed > 0 and p.action == "level" and p.unit == "deviations" else -np.inf
