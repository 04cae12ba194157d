"""Constant bidding and bidding linear in pCTR, tuned on the training log by the rules themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from envs.auction_log.params import CHEAPEST, DEAREST, AuctionLogParams
from envs.auction_log.rules import metric_, obs_
from marl.content import remembered
from marl.game import F4, F8

CONSTANT, LINEAR = 0.0, 1.0
MOST_BIDS = 600
"""Bids that a search tries at most."""

STEP = 2.0
"""Ratio of neighbouring budget shares in the table that bidders with a drawn budget interpolate in."""


def constant(p: AuctionLogParams, obs: F4, generator: np.random.Generator) -> F8:
    """The same bid for every impression, the best of the training log at the same share of its cost."""
    return _bid(p, obs, CONSTANT)


def linear(p: AuctionLogParams, obs: F4, generator: np.random.Generator) -> F8:
    """A bid proportional to pCTR (Perlich et al. 2012), the best of the training log at the same share of its cost."""
    return _bid(p, obs, LINEAR)


def _bid(p: AuctionLogParams, obs: F4, slope: float) -> F8:
    if not p.varies:
        multiplier = np.full(len(obs), tuned(_setting(p, p.budget), slope))
    else:
        shares = shares_between(p.share_low, p.budget)
        best = [tuned(_setting(p, share), slope) for share in shares]
        multiplier = np.exp(np.interp(obs[:, obs_.budget_share], np.log10(shares), np.log(best)))
    return np.stack([multiplier, np.full(len(obs), slope)], axis=1)


def shares_between(low: float, high: float) -> F8:
    """Budget shares from low to high with ratios of at most 2, [n]."""
    return np.geomspace(low, high, 1 + max(1, int(np.ceil(np.log2(high / low) / np.log2(STEP))))) if low < high else np.array([high])


def bids(base: float) -> F8:
    """Bids that are tried: all whole ones within the action's range, thinned to 600 with equal ratios if they are more."""
    low, high = max(1.0, np.ceil(CHEAPEST * base)), np.floor(DEAREST * base)
    return np.arange(low, high + 1) if high - low < MOST_BIDS else np.unique(np.rint(np.geomspace(low, high, MOST_BIDS)))


def _setting(p: AuctionLogParams, share: float) -> AuctionLogParams:
    """The training log replayed once in its order by one bidder with this share."""
    return replace(p, n_agents=1, horizon=1, split="train", vary=False, budget=float(share))


@remembered(256)
def tuned(p: AuctionLogParams, slope: float) -> float:
    """The multiplier with most training clicks, the lowest of equals: each bid of `bids` replays the log in its own copy."""
    from envs.auction_log import AUCTION_LOG
    from marl.vector import VectorGame

    tried = bids(p.base)
    game = VectorGame(AUCTION_LOG, len(tried), p)
    game.reset(0)
    game.step(np.stack([tried / p.base, np.full(len(tried), slope)], axis=1)[:, None])
    return float(tried[np.argmax(game.metrics[:, 0, metric_.clicks])] / p.base)
