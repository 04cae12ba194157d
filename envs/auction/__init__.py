"""The game `auction`: simultaneous bidders, one slot, hard budgets."""

from __future__ import annotations

from typing import Any

from envs.auction import baselines, rules
from envs.auction.params import AuctionParams
from marl.game import Game, Role

KNOWN: dict[str, Any] = {"mode": "uniform_ipv", "horizon": 1, "auctions_per_tick": 256}
VALUED: dict[str, Any] = {"mode": "uniform_ipv", "horizon": 1, "auctions_per_tick": 1}
PRESETS: dict[str, dict[str, Any]] = {
    "first_price_two": {**KNOWN, "n_agents": 2, "format": "first"},
    "first_price_five": {**KNOWN, "n_agents": 5, "format": "first"},
    "second_price_two": {**KNOWN, "n_agents": 2, "format": "second"},
    "all_pay_two": {**VALUED, "n_agents": 2, "format": "all_pay"},
    "reserve_two": {**VALUED, "n_agents": 2, "format": "first", "reserve": 0.5},
    "asymmetric": {**VALUED, "n_agents": 2, "format": "first", "mode": "asym_uniform"},
    "pacing": {"mode": "pacing", "n_agents": 1, "horizon": 48, "auctions_per_tick": 64},
    "pacing_four": {"mode": "uniform_ipv", "n_agents": 4, "horizon": 48, "auctions_per_tick": 64, "budget": 0.075 * 48 * 64},
    "market": {},
}


def roles(p: AuctionParams) -> tuple[Role, ...]:
    """Advertisers; with one auction a tick they see its value."""
    seen = rules.OBSERVATION | ({"value": rules.VALUE} if p.auctions_per_tick == 1 else {})
    return (Role("advertiser", p.n_agents, seen, baselines.action_table(p)),)


AUCTION = Game(
    "auction",
    version=0,
    params=AuctionParams,
    state=rules.AuctionState,
    roles=roles,
    begin=rules.begin,
    step=rules.step,
    observe=rules.observe,
    measure=rules.measure,
    metrics=rules.METRICS,
    reward=rules.REWARD,
    cost=rules.COST,
    balance=rules.balance,
    audit=rules.AUDIT,
    baselines={
        "truthful": baselines.truthful,
        "shaded": baselines.shaded,
        "paced": baselines.paced,
        "equilibrium": baselines.equilibrium,
    },
    reference=baselines.reference,
    known=baselines.known,
    action_grid=baselines.action_grid,
    presets=PRESETS,
    citation="Krishna 2010, Auction Theory, 2nd ed.; Balseiro and Gur 2019, Learning in repeated auctions with budgets",
)
