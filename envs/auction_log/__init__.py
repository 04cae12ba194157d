"""The game `auction_log`: bidders against the prices of a real log."""

from __future__ import annotations

from dataclasses import replace

from envs.auction_log import baselines, rules
from envs.auction_log.params import AuctionLogParams
from marl.game import Game, Role

TRIALS = {"1/2": 1 / 2, "1/8": 1 / 8, "1/32": 1 / 32}
"""Budgets, as shares of the held-out log's cost, that an evaluation reports (Zhang, Yuan and Wang 2014)."""


def roles(p: AuctionLogParams) -> tuple[Role, ...]:
    """Advertisers."""
    return (Role("advertiser", p.n_agents, rules.OBSERVATION, rules.ACTION),)


def trials(p: AuctionLogParams) -> dict[str, AuctionLogParams]:
    """The held-out log, whole and in its order, at three budgets."""
    return {name: replace(p, split="test", budget=share) for name, share in TRIALS.items()}


AUCTION_LOG = Game(
    "auction_log",
    version=0,
    params=AuctionLogParams,
    state=rules.AuctionLogState,
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
    baselines={"constant": baselines.constant, "linear": baselines.linear},
    reference=lambda p: "linear",
    trials=trials,
    citation="Zhang, Yuan and Wang 2014, Optimal real-time bidding for display advertising, KDD",
)
