"""Bidders against the prices of a real log (Zhang, Yuan and Wang 2014, "Optimal real-time bidding for display advertising").

Auction by auction in the log's order: a bid is multiplier x base x ((1 - slope) + slope x relative pCTR), in whole
money units, capped at the money left. The highest learner wins if its bid reaches the log's price, pays the higher of
that price and the next learner's bid, and gets the click that the log holds: a bid below the price earns nothing.
Ties among learners are broken uniformly by the seed; a bid of nothing is none.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from envs.auction_log.params import CHEAPEST, DEAREST
from marl.compiled import rule
from marl.game import F8, I8, RUNNING, TERMINATED, Column, Component, array, index, inf
from marl.rng import draw, stream, uniform

TIES, START, SHARE = 0, 1, 2
EDGE = 1e-3
"""Part of a money unit by which a bid may miss a whole one and still count as it: multipliers come in single precision."""

OBSERVATION = {
    "time_left": Column(0, 1, "share of the horizon"),
    "budget_left": Column(0, 1, "share of the budget"),
    "budget_share": Column(-6, 0, "log10 of the budget over the log's total cost"),
    "spend_rate": Column(0, inf, "last tick's spend over budget/horizon"),
    "pacing_error": Column(-1, 1, "budget_left less time_left"),
    "last_multiplier": Column(0, DEAREST, "of the last tick, 1 at first"),
    "last_slope": Column(0, 1, "of the last tick"),
    "win_rate": Column(0, 1, "share of the last tick's auctions"),
    "price_mean": Column(0, inf, "last tick's spend per win over the base bid"),
    "quality_mean": Column(0, inf, "mean relative pCTR of the last tick's auctions"),
}
ACTION = {"multiplier": Column(CHEAPEST, DEAREST, "bid over base", scale="log"), "slope": Column(0, 1, "0 constant, 1 linear in pCTR")}
REWARD = {"expected_clicks": Component(1.0, "clicks by calibrated pCTR"), "clicks": Component(0.0, "clicks")}
"""A log has too few clicks to learn from (79 in 100,000 lines), so the default reward is the calibrated pCTR of what was won."""
COST = {"budget_spent": Column(0, 1, "share of the budget")}
METRICS = {
    "clicks": Column(0, inf, "clicks"),
    "expected_clicks": Column(0, inf, "clicks by calibrated pCTR"),
    "wins": Column(0, inf, "auctions"),
    "spend": Column(0, inf, "money units"),
    "budget_use": Column(0, 1, "share of the budget"),
    "win_rate": Column(0, 1, "share of auctions"),
    "multiplier": Column(0, DEAREST, "mean over ticks"),
    "slope": Column(0, 1, "mean over ticks"),
}
AUDIT = ("paid", "budget", "wins", "clicks", "overspend", "below_price")
obs_, action_, reward_, metric_ = index(OBSERVATION), index(ACTION), index(REWARD), index(METRICS)


class AuctionLogState(NamedTuple):
    """Money in the log's units; what starts with `tick` is of the last tick, the rest of this episode."""

    purse: I8 = array()  # [B] budget of each bidder
    share: F8 = array()  # [B] budget over the log's total cost
    start: I8 = array()  # [B] line of the log that the episode began at
    left: I8 = array("agents")  # [B, A]
    spent: I8 = array("agents")  # [B, A]
    wins: I8 = array("agents")  # [B, A] auctions
    clicks: I8 = array("agents")  # [B, A]
    expected: F8 = array("agents")  # [B, A] clicks
    multipliers: F8 = array("agents")  # [B, A] sum over ticks
    slopes: F8 = array("agents")  # [B, A] sum over ticks
    last: F8 = array("agents", 2)  # [B, A, U] action of the last tick
    tick_spent: I8 = array("agents")  # [B, A]
    tick_wins: I8 = array("agents")  # [B, A] auctions
    tick_clicks: I8 = array("agents")  # [B, A]
    tick_expected: F8 = array("agents")  # [B, A] clicks
    tick_quality: F8 = array()  # [B] sum of relative pCTR
    paid: I8 = array()  # [B] all prices
    sold: I8 = array()  # [B] auctions that a learner won
    clicked: I8 = array()  # [B] clicks in those
    short: I8 = array()  # [B] auctions sold below the log's price: never


@rule
def begin(p, s, b):
    s.share[b], s.start[b] = p.budget, 0
    if p.varies:
        s.share[b] = p.share_low * math.exp(uniform(s, b, SHARE, 0) * math.log(p.budget / p.share_low))
        s.start[b] = int(uniform(s, b, START, 0) * len(p.price))
    s.purse[b] = max(1, int(s.share[b] * p.total))
    s.paid[b] = s.sold[b] = s.clicked[b] = s.short[b] = 0
    for a in range(p.n_agents):
        s.left[b, a] = s.purse[b]
        s.spent[b, a] = s.wins[b, a] = s.clicks[b, a] = 0
        s.expected[b, a] = s.multipliers[b, a] = s.slopes[b, a] = 0.0
        s.last[b, a, action_.multiplier] = 1.0
        s.last[b, a, action_.slope] = 0.0
    clear_tick(p, s, b)


@rule
def clear_tick(p, s, b):
    s.tick_quality[b] = 0.0
    for a in range(p.n_agents):
        s.tick_spent[b, a] = s.tick_wins[b, a] = s.tick_clicks[b, a] = 0
        s.tick_expected[b, a] = 0.0


@rule
def highest(p, s, b, k, line, action, ties):
    """(winner or -1, its bid, the next bid) of auction k of the episode, line `line` of the log."""
    best, second, tied, winner = 0, 0, 0, -1
    for a in range(p.n_agents):
        slope = action[b, a, action_.slope]
        level = action[b, a, action_.multiplier] * p.base * ((1.0 - slope) + slope * p.relative[line])
        bid = min(int(level + EDGE), s.left[b, a])
        if bid < max(p.price[line], 1):
            continue
        takes = bid > best
        if bid == best:
            tied += 1
            takes = draw(ties, k * p.n_agents + a) * tied < 1.0
        elif takes:
            tied = 1
        second = max(second, min(bid, best))
        best = max(best, bid)
        if takes:
            winner = a
    return winner, best, second


@rule
def settle(p, s, b, line, winner, best, second):
    """Book the auction; without a branch, as an `if` at the end of a rule makes numba count references to all arrays."""
    sale, a = int(winner >= 0), max(winner, 0)
    price = sale * max(p.price[line], second)
    s.left[b, a] -= price
    s.tick_spent[b, a] += price
    s.tick_wins[b, a] += sale
    s.tick_clicks[b, a] += sale * p.click[line]
    s.tick_expected[b, a] += sale * p.expected[line]
    s.paid[b] += price
    s.sold[b] += sale
    s.clicked[b] += sale * p.click[line]
    s.short[b] += sale * int(best < p.price[line])


@rule
def step(p, s, b, action, components, cost):
    clear_tick(p, s, b)
    lines, ties = len(p.price), stream(s, b, TIES)
    first, last = s.t[b] * lines // p.horizon, (s.t[b] + 1) * lines // p.horizon
    for k in range(first, last):
        line = s.start[b] + k
        if line >= lines:
            line -= lines
        s.tick_quality[b] += p.relative[line]
        winner, best, second = highest(p, s, b, k, line, action, ties)
        settle(p, s, b, line, winner, best, second)
    for a in range(p.n_agents):
        s.spent[b, a] += s.tick_spent[b, a]
        s.wins[b, a] += s.tick_wins[b, a]
        s.clicks[b, a] += s.tick_clicks[b, a]
        s.expected[b, a] += s.tick_expected[b, a]
        s.multipliers[b, a] += action[b, a, action_.multiplier]
        s.slopes[b, a] += action[b, a, action_.slope]
        for u in range(2):
            s.last[b, a, u] = action[b, a, u]
        components[b, a, reward_.expected_clicks] = s.tick_expected[b, a]
        components[b, a, reward_.clicks] = s.tick_clicks[b, a]
        cost[b, a, 0] = s.tick_spent[b, a] / s.purse[b]
    return TERMINATED if s.t[b] + 1 >= p.horizon else RUNNING


@rule
def observe(p, s, b, obs):
    t = s.t[b]
    count = t * len(p.price) // p.horizon - (t - 1) * len(p.price) // p.horizon if t > 0 else 0
    for a in range(p.n_agents):
        wins, left = s.tick_wins[b, a], s.left[b, a] / s.purse[b]
        obs[b, a, obs_.time_left] = 1.0 - t / p.horizon
        obs[b, a, obs_.budget_left] = left
        obs[b, a, obs_.budget_share] = math.log10(s.share[b])
        obs[b, a, obs_.spend_rate] = s.tick_spent[b, a] * float(p.horizon) / s.purse[b]
        obs[b, a, obs_.pacing_error] = left - (1.0 - t / p.horizon)
        obs[b, a, obs_.last_multiplier] = s.last[b, a, action_.multiplier]
        obs[b, a, obs_.last_slope] = s.last[b, a, action_.slope]
        obs[b, a, obs_.win_rate] = wins / count if count > 0 else 0.0
        obs[b, a, obs_.price_mean] = s.tick_spent[b, a] / (wins * p.base) if wins > 0 else 0.0
        obs[b, a, obs_.quality_mean] = s.tick_quality[b] / count if count > 0 else 0.0


@rule
def measure(p, s, b, metrics):
    for a in range(p.n_agents):
        metrics[b, a, metric_.clicks] = s.clicks[b, a]
        metrics[b, a, metric_.expected_clicks] = s.expected[b, a]
        metrics[b, a, metric_.wins] = s.wins[b, a]
        metrics[b, a, metric_.spend] = s.spent[b, a]
        metrics[b, a, metric_.budget_use] = s.spent[b, a] / s.purse[b]
        metrics[b, a, metric_.win_rate] = s.wins[b, a] / len(p.price)
        metrics[b, a, metric_.multiplier] = s.multipliers[b, a] / p.horizon
        metrics[b, a, metric_.slope] = s.slopes[b, a] / p.horizon


@rule
def balance(p, s, b, residual):
    """Prices paid = sum of spends; budget = left + spent; wins and clicks add up; no overspend; nothing sold below the price."""
    spent, wins, clicks = 0, 0, 0
    for q in range(len(AUDIT)):
        residual[b, q] = 0.0
    for a in range(p.n_agents):
        spent += s.spent[b, a]
        wins += s.wins[b, a]
        clicks += s.clicks[b, a]
        residual[b, 1] += abs(s.purse[b] - s.left[b, a] - s.spent[b, a])
        residual[b, 4] += max(0, -s.left[b, a])
    residual[b, 0] = s.paid[b] - spent
    residual[b, 2] = s.sold[b] - wins
    residual[b, 3] = s.clicked[b] - clicks
    residual[b, 5] = s.short[b]
