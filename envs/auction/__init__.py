"""The game `auction`: simultaneous bidders with hard budgets, in modes with known answers, and in mode advertising a whole market.

One name and one set of parameters; advertising has rules, state and columns of its own (`market`), compiled apart.
"""

from __future__ import annotations

from envs.auction import accounts, baselines, bidders, goal, market, rewards, rules, views
from envs.auction.params import AuctionParams
from envs.auction.presets import PRESETS
from envs.auction.state import MarketState
from marl.game import Game, Picture, Role


def roles(p: AuctionParams) -> tuple[Role, ...]:
    """Advertisers; with one auction a tick they see its value."""
    seen = rules.OBSERVATION | ({"value": rules.VALUE} if p.auctions_per_tick == 1 else {})
    return (Role("advertiser", p.n_agents, seen, baselines.action_table(p)),)


def market_roles(p: AuctionParams) -> tuple[Role, ...]:
    """Advertisers."""
    return (Role("advertiser", p.n_agents, views.columns(p), bidders.action_table(p)),)


MARKET = Game(
    "auction",
    version=0,
    params=AuctionParams,
    state=MarketState,
    roles=market_roles,
    begin=market.begin,
    step=market.step,
    observe=views.observe,
    measure=accounts.measure,
    metrics=accounts.METRICS,
    reward=rewards.REWARD,
    cost=rewards.COST,
    weights=rewards.weights,
    balance=accounts.balance,
    audit=accounts.AUDIT,
    baselines=bidders.BASELINES,
    reference=bidders.reference,
    action_grid=bidders.action_grid,
    goal=goal.goals,
    picture=Picture("envs.auction.page:draw", ("place", "pool")),
    citation="Balseiro and Gur 2019; Zhang et al. 2014; Chapelle 2014; Edelman, Ostrovsky and Schwarz 2007",
)
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
        "idle": baselines.idle,
    },
    reference=baselines.reference,
    unscaled={"advertiser.multiplier": "bids above the value stay legal, where they lose; the column is explored narrowly instead"},
    known=baselines.known,
    action_grid=baselines.action_grid,
    picture=Picture("envs.auction.page:draw"),
    presets=PRESETS,
    variants={"market": MARKET},
    variant=lambda p: "market" if p.advertising else "",
    citation="Krishna 2010, Auction Theory, 2nd ed.; Balseiro and Gur 2019, Learning in repeated auctions with budgets",
)
