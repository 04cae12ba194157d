"""Scripted advertisers of mode advertising: what they bid is decided by what they see, tick for tick."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from envs.auction.baselines import GRID
from envs.auction.params import AuctionParams
from envs.auction.pilot import balanced, returns_of
from envs.auction.views import obs_
from envs.auction.world import CHANNELS
from marl.game import F4, F8, ActionTable, Column, Discrete

GAIN, SUM_GAIN = 0.3, 0.5
"""Of pid: on the tick's spend error, and on the budget left over plan; best of preset train over {.1, .3, 1} x {0, .5, 2}."""
STEP = 1.0
"""Of dual, over {.05, .1, .3, .6, 1}."""
LOWEST, HIGHEST = 0.1, 4.0


def action_table(p: AuctionParams) -> ActionTable:
    """Columns of the action."""
    creatives, segments = Discrete(p.creatives), Discrete(p.segments)
    if p.actions == "hybrid":
        channels = Discrete(1 + p.channels, ("organic", *CHANNELS[: p.channels]))
        return {"bid": Column(0.5, 10.0, "$", scale="log"), "creative": creatives, "channel": channels, "targeting": segments}
    if p.actions == "campaign":
        return {
            "daily_budget": Column(10.0, 200.0, "$ per day"),
            "bid": Column(0.5, 20.0, "$", scale="log"),
            "audience_share": Column(0.1, 1.0, "share of impressions"),
            "creative_type": Discrete(3, ("image", "video", "carousel")),
            "audience": Discrete(3, ("young_adults", "professionals", "families")),
            "pricing": Discrete(3, ("cpc", "cpm", "cpa")),
            "ab_split": Column(0.0, 1.0, "share of variant B"),
        }
    multiplier = Column(LOWEST, HIGHEST, "bid over estimated value", scale="log")
    return {f"multiplier_{g}": multiplier for g in range(p.segments)} if p.actions == "segment" else {"multiplier": multiplier}


def action_grid(p: AuctionParams) -> Mapping[str, npt.NDArray[Any]]:
    """15 multipliers with equal ratios, for all segments alike; in hybrid and campaign, bids x creatives x targets."""
    scales = np.geomspace(LOWEST, HIGHEST, GRID)
    if p.actions == "hybrid":
        channels, segments = range(1, 1 + p.channels), range(p.segments)
        aimed = [[bid, (3 * g + h) % p.creatives, h, g] for bid in (1.0, 3.0, 8.0) for h in channels for g in segments]
        return {"advertiser": np.array([[0.5, 0, 0, 0], *aimed])}
    if p.actions == "campaign":
        kinds = [(bid, c, a, k) for bid in (1.0, 3.0, 8.0) for c in range(3) for a in range(3) for k in range(2)]
        return {"advertiser": np.array([[200.0, bid, 1.0, c, a, k, 0.0] for bid, c, a, k in kinds])}
    rows = np.repeat(scales[:, None], p.segments if p.actions == "segment" else 1, 1)
    return {"advertiser": np.clip(rows, LOWEST, HIGHEST)}


def _bid(p: AuctionParams, obs: F4, multiplier: Any) -> F8:
    """Actions at these multipliers [N] of the estimated value. In $, a click's or conversion's expected value is bid for the largest
    segment or the first audience, everywhere clicks are paid for."""
    scale = np.clip(np.broadcast_to(np.asarray(multiplier, np.float64), len(obs)), LOWEST, HIGHEST)
    if p.actions == "hybrid":
        rows = np.zeros((len(obs), 4))
        rows[:, 0] = np.clip(scale * p.sale_rate * p.sale_value, 0.5, 10.0)
        rows[:, 2], rows[:, 3] = 1, int(p.land.cell_share.sum(1).argmax())
        return rows
    if p.actions == "campaign":
        rows = np.zeros((len(obs), 7))
        rows[:, 0], rows[:, 2] = 200.0, 1.0
        rows[:, 1] = np.clip(scale * p.sale_rate * p.sale_value, 0.5, 20.0)
        return rows
    return np.repeat(scale[:, None], p.segments if p.actions == "segment" else 1, 1)


def truthful(p: AuctionParams, obs: F4, generator: np.random.Generator) -> F8:
    """Bids the estimated value."""
    return _bid(p, obs, 1.0)


def shaded(p: AuctionParams, obs: F4, generator: np.random.Generator) -> F8:
    """Bids (n-1)/n of it."""
    return _bid(p, obs, (p.n_agents - 1) / p.n_agents if p.n_agents > 1 else 0.5)


def _sees_pacing(p: AuctionParams) -> bool:
    return p.limited and p.actions in ("multiplier", "segment")


def pid(p: AuctionParams, obs: F4, generator: np.random.Generator) -> F8:
    """The last multiplier times exp(gain (1 - spend rate) + gain' x budget left over plan), a PI controller (Zhang et al. 2016)."""
    if not _sees_pacing(p):
        return _bid(p, obs, 1.0)
    started = obs[:, obs_.time_left] < 1
    push = GAIN * (1 - np.minimum(obs[:, obs_.spend_rate], 3.0)) + SUM_GAIN * obs[:, obs_.pacing_error]
    return _bid(p, obs, np.where(started, np.minimum(obs[:, obs_.last_multiplier] * np.exp(push), 1.0), 1.0))


def dual(p: AuctionParams, obs: F4, generator: np.random.Generator) -> F8:
    """1/(1 + mu), mu raised by what was spent above plan (Balseiro and Gur 2019); mu is read off the last multiplier."""
    if not _sees_pacing(p):
        return _bid(p, obs, 1.0)
    started = obs[:, obs_.time_left] < 1
    mu = 1 / np.maximum(obs[:, obs_.last_multiplier].astype(np.float64), LOWEST) - 1
    after = np.maximum(0.0, mu - STEP * (1 - np.minimum(obs[:, obs_.spend_rate], 10.0)))
    return _bid(p, obs, np.where(started, 1 / (1 + after), 1.0))


def fixed(p: AuctionParams, obs: F4, generator: np.random.Generator) -> F8:
    """The one multiplier at which everybody's budget just lasts, found by bisection on pilot episodes."""
    return _bid(p, obs, balanced(p) if p.actions in ("multiplier", "segment") else 1.0)


def best_fixed(p: AuctionParams, obs: F4, generator: np.random.Generator) -> F8:
    """The multiplier of the grid that earns advertiser 0 most on pilot episodes among rivals who bid `fixed`."""
    if p.actions != "multiplier":
        return fixed(p, obs, generator)
    scales = tuple(float(x) for x in action_grid(p)["advertiser"][:, 0])
    found = returns_of(p, scales, balanced(p), 8)
    return _bid(p, obs, scales[int(found.argmax())])


def ortb(p: AuctionParams, obs: F4, generator: np.random.Generator) -> F8:
    """Optimal real-time bidding of Zhang, Yuan and Wang 2014, ORTB1: sqrt(c v / lambda + c^2) - c, at the last tick's mean estimate.

    c is the last tick's mean price (what wins half), in units of the mean value v; lambda makes the mean impression's bid the balanced one.
    One multiplier a tick cannot bend the bid within a tick.
    """
    if not _sees_pacing(p):
        return _bid(p, obs, 1.0)
    base = balanced(p)
    c = np.maximum(obs[:, obs_.price_mean].astype(np.float64), 0.05)
    v = np.where(obs[:, obs_.value_mean] > 0, obs[:, obs_.value_mean], 1.0).astype(np.float64)
    inverse = ((base + c) ** 2 - c**2) / c  # 1/lambda at which the mean impression is bid `base` for
    return _bid(p, obs, (np.sqrt(c * v * inverse + c**2) - c) / v)


BASELINES = {
    "truthful": truthful,
    "shaded": shaded,
    "pid": pid,
    "dual": dual,
    "fixed": fixed,
    "best_fixed": best_fixed,
    "ortb": ortb,
}


def reference(p: AuctionParams) -> str:
    """The best shipped baseline: PID pacing where budgets bind, truthful bids without."""
    return "pid" if _sees_pacing(p) else "truthful"
