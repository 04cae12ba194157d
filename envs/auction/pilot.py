"""Episodes of mode advertising that are played to know what they cost: what truthful bidders spend, and what fixed multipliers earn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from envs.auction.params import MICRO, AuctionParams
from marl.content import remembered
from marl.game import F8

RICH = 1e11
"""A budget that nobody spends, $."""
SEED = 314_159
AUCTIONS = 100_000
"""Auctions that a pilot plays at most, in fewer ticks of the same traffic if need be."""


@remembered(64)
def truthful_spend_of(p: AuctionParams) -> float:
    """Mean spend ($) of an advertiser in an episode where all bid their estimates and nothing limits them: two seeded episodes.

    Where an episode has very many auctions, fewer a tick are played and the spend is scaled up.
    """
    from envs.auction import MARKET
    from marl.vector import VectorGame

    fewer = max(1, min(p.auctions_per_tick, AUCTIONS // p.horizon))
    free = replace(
        p, budget=RICH, budgets="", day_cap=0.0, pacing="none", actions="multiplier", auctions_per_tick=fewer, users="pooled", pay="profit"
    )
    copies = VectorGame(MARKET, 2, free)
    copies.reset(SEED)
    copies.action[:] = 1.0
    for _ in range(p.horizon):
        copies.tick()
    spend = copies.metrics[:, :, copies.metric_names.index("spend")]
    return float(spend.mean()) * p.auctions_per_tick / fewer


@remembered(64)
def returns_of(p: AuctionParams, multipliers: tuple[float, ...], rivals: float, episodes: int) -> F8:
    """Mean return [M] of advertiser 0 with each fixed multiplier, among rivals with another: all meet the same episodes."""
    from envs.auction import MARKET
    from marl.vector import VectorGame

    copies = VectorGame(MARKET, episodes, p)
    found = np.zeros(len(multipliers))
    for i, multiplier in enumerate(multipliers):
        copies.reset(SEED + 1)
        for _ in range(p.horizon):
            copies.action[:] = rivals
            copies.action[:, 0] = multiplier
            copies.tick()
            found[i] += float(copies.reward[:, 0].mean())
    return found


@remembered(64)
def balanced(p: AuctionParams, episodes: int = 4) -> float:
    """The multiplier at which all who share it just spend their budgets, by bisection on whole episodes; 1 where truth does not."""
    from envs.auction import MARKET
    from marl.vector import VectorGame

    if not p.limited:
        return 1.0
    free = replace(p, budget=RICH, budgets="", day_cap=0.0, pacing="none")
    copies, low, high = VectorGame(MARKET, episodes, free), 0.05, 4.0
    for _ in range(8):
        middle = float(np.sqrt(low * high))
        copies.reset(SEED + 2)
        for _ in range(p.horizon):
            copies.action[:] = middle
            copies.tick()
        spend = copies.metrics[:, :, copies.metric_names.index("spend")].mean() * MICRO
        low, high = (middle, high) if spend <= p.purses().mean() else (low, middle)
    return min(low, 1.0)


def best_fixed_regret(p: AuctionParams, played: F8, agent: int, multipliers: F8, seed: int) -> tuple[float, float]:
    """(best fixed multiplier in hindsight, what it would have earned more) of an advertiser, on the draws of one episode.

    played [T, A, U] is what everybody did; all but `agent` do it again against each of the multipliers [M]. The episode is copy 0's
    first of `seed`; the regret is negative where the advertiser did better than any fixed multiplier.
    """
    from envs.auction import MARKET
    from marl.vector import VectorGame

    copies = VectorGame(MARKET, 1, p)
    earned = []
    for multiplier in (None, *multipliers.tolist()):
        copies.reset(seed)
        total = 0.0
        for actions in played:
            copies.action[0] = actions
            if multiplier is not None:
                copies.action[0, agent] = multiplier
            copies.tick()
            total += float(copies.reward[0, agent])
        earned.append(total)
    best = int(np.argmax(earned[1:]))
    return float(multipliers[best]), earned[1 + best] - earned[0]
