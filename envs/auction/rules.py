"""Simultaneous bidders for one slot: first price, second price or all-pay, with hard budgets inside the tick.

A tick is `auctions` sealed-bid auctions, one after the other in arrival order. A bidder's action is one multiplier
for the tick, its bid in an auction the multiplier times its value there. A bid is capped at the money that its
bidder has left (as in Balseiro and Gur 2019), so that nobody ever spends more than the budget; a bid below the
reserve, or of nothing, is none. The highest bid wins, ties are broken uniformly by the seed. In second price the
winner pays the next bid or the reserve, a lone bidder the reserve; in first price the winner pays its bid; in
all-pay everybody who bids pays the own bid. Money is in whole micro-dollars.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from envs.auction.mechanisms import clear, place
from envs.auction.params import ALL_PAY, FIRST, MICRO, TABLE, UNIFORM, UNLIMITED
from marl.compiled import apart, rule
from marl.game import F8, I8, RUNNING, TERMINATED, Column, Component, array, index, inf
from marl.rng import U, bits, draw, gaussian, stream

VALUES, TIES, RIVALS = 0, 1, 2
CELL = U(64 - 12)
"""Shift that leaves the 12 highest of 64 random bits: one of the 4096 cells of the quantile table."""

OBSERVATION = {
    "time_left": Column(0, 1, "share of the horizon"),
    "budget_left": Column(0, 1, "share of the budget, 1 without one"),
    "spend_rate": Column(0, inf, "last tick's spend over the budget's share for its traffic, 0 without a budget"),
    "pacing_error": Column(-1, 1, "budget_left less traffic_left, 0 without a budget"),
    "last_multiplier": Column(0, 4, "multiplier of the last tick, 1 at first"),
    "win_rate": Column(0, 1, "share of the last tick's auctions"),
    "price_mean": Column(0, inf, "last tick's spend per win over the mean value"),
    "value_mean": Column(0, inf, "last tick's mean value over the mean value"),
    "value_cv": Column(0, inf, "last tick's standard deviation over mean of the values"),
    "traffic_now": Column(0, inf, "auctions of the coming tick over their mean"),
    "traffic_left": Column(0, 1, "share of the episode's auctions"),
    "hour_sine": Column(-1, 1),
    "hour_cosine": Column(-1, 1),
    "own_scale": Column(0, 1, "own mean value over the highest bidder's"),
}
VALUE = Column(0, inf, "value of the coming auction over the top of its law, over its mean where it has no top")
"""One more observation column, `value`, where a tick is one auction: then a bid may depend on the value."""

LINEAR = {"multiplier": Column(0, 1.5, "bid over value", explore=0.15, explore_last=0.01)}
"""Explored little, and less and less: the best answer to rivals who tremble is to shade more than at equilibrium."""
LOGARITHMIC = {"multiplier": Column(0.1, 4, "bid over value", scale="log", explore=0.15, explore_last=0.01)}
REWARD = {"profit": Component(1.0, "$ per auction"), "value": Component(0.0, "$ per auction"), "cost": Component(0.0, "$ per auction")}
COST = {"budget_spent": Column(0, 1, "share of the budget"), "overpaid": Column(0, inf, "$ per auction paid above the value")}
METRICS = {
    "surplus": Column(-inf, inf, "$ per auction, the bidder's"),
    "spend": Column(0, inf, "$ per auction, the bidder's"),
    "value": Column(0, inf, "$ per auction, the bidder's"),
    "revenue": Column(0, inf, "$ per auction, all bidders'"),
    "revenue_share": Column(0, 1, "spend over revenue"),
    "welfare": Column(0, inf, "$ per auction, value of whoever got the slot"),
    "efficiency": Column(0, 1, "welfare over the highest values"),
    "win_rate": Column(0, 1, "share of auctions"),
    "budget_use": Column(0, 1, "share of the budget, 0 without one"),
    "price": Column(0, inf, "$ spent per win"),
    "multiplier": Column(0, 4, "mean over ticks"),
}
AUDIT = ("revenue", "budget", "surplus", "value", "wins", "overspend")
obs_, cost_, reward_, metric_ = index(OBSERVATION), index(COST), index(REWARD), index(METRICS)
WIDTH = len(OBSERVATION)


class AuctionState(NamedTuple):
    """Money in micro-dollars; what starts with `tick` is of the last tick, the rest of this episode."""

    left: I8 = array("agents")  # [B, A]
    spent: I8 = array("agents")  # [B, A]
    won: I8 = array("agents")  # [B, A] value of what was won
    surplus: I8 = array("agents")  # [B, A]
    wins: I8 = array("agents")  # [B, A] auctions
    multipliers: F8 = array("agents")  # [B, A] sum over ticks
    last: F8 = array("agents")  # [B, A] multiplier of the last tick
    tick_spent: I8 = array("agents")  # [B, A]
    tick_won: I8 = array("agents")  # [B, A]
    tick_wins: I8 = array("agents")  # [B, A] auctions
    tick_overpaid: I8 = array("agents")  # [B, A]
    tick_values: F8 = array("agents")  # [B, A] sum over auctions
    tick_squares: F8 = array("agents")  # [B, A] squared micro-dollars
    worths: I8 = array("agents")  # [B, A] values in the auction at hand
    bids: I8 = array("agents")  # [B, A] bids in the auction at hand, 0 where there is none
    offers: F8 = array("agents")  # [B, A] bids of an auction for several positions; what follows up to `prices` as well
    ones: F8 = array("agents")  # [B, A] weights
    scores: F8 = array("ranks")  # [B, slots + 1]
    ranked: I8 = array("ranks")  # [B, slots + 1] bidders by rank
    prices: F8 = array("agents")  # [B, A] per unit of exposure
    revenue: I8 = array()  # [B]
    sold: I8 = array()  # [B] auctions
    allocated: I8 = array()  # [B] value of whoever got the slot, the rival of mode pacing included
    highest: I8 = array()  # [B] highest value of each auction, summed


@rule
def worth(p, values, i, a):
    """Value of bidder a in auction i // n_agents of the tick, micro-dollars."""
    if p.fixed[a] > 0:
        return p.fixed[a]
    if p.kind == UNIFORM:
        return int(draw(values, i) * p.top[a])
    if p.kind == TABLE:
        return p.quantiles[int(bits(values, i) >> CELL)]
    return int(math.exp(p.log_location + p.sigma * gaussian(values, i)))


@rule
def begin(p, s, b):
    s.revenue[b] = s.sold[b] = s.allocated[b] = s.highest[b] = 0
    for a in range(p.n_agents):
        s.left[b, a] = p.purses[a]
        s.spent[b, a] = s.won[b, a] = s.surplus[b, a] = s.wins[b, a] = 0
        s.multipliers[b, a] = 0.0
        s.last[b, a] = 1.0
        s.worths[b, a] = s.bids[b, a] = 0
    clear_tick(p, s, b)


@rule
def clear_tick(p, s, b):
    for a in range(p.n_agents):
        s.tick_spent[b, a] = s.tick_won[b, a] = s.tick_wins[b, a] = s.tick_overpaid[b, a] = 0
        s.tick_values[b, a] = s.tick_squares[b, a] = 0.0


@rule
def pay(s, b, a, money):
    s.tick_overpaid[b, a] += max(money - s.worths[b, a], 0)
    s.left[b, a] -= money
    s.spent[b, a] += money
    s.tick_spent[b, a] += money
    s.surplus[b, a] -= money
    s.revenue[b] += money


@rule
def win(s, b, a, value):
    s.wins[b, a] += 1
    s.tick_wins[b, a] += 1
    s.won[b, a] += value
    s.tick_won[b, a] += value
    s.surplus[b, a] += value
    s.sold[b] += 1
    s.allocated[b] += value


@rule
def offer(p, s, b, k, action, values, least):
    """Every bidder's value and bid in auction k of the tick: capped at the money left, 0 below `least`."""
    for a in range(p.n_agents):
        value = worth(p, values, k * p.n_agents + a, a)
        s.worths[b, a] = value
        s.tick_values[b, a] += value
        s.tick_squares[b, a] += float(value) * value
        bid = min(int(action[b, a, 0] * value), s.left[b, a])
        s.bids[b, a] = bid if bid >= least else 0


@rule
def auction(p, s, b, k, action, values, ties, reserve):
    """Auction k of the tick. A bid of `reserve`, and of at least one micro-dollar, counts.

    A bid that does not count is 0, so that the loop over bids has no branch that a processor would guess wrong half the
    time; ties, which are rare, are looked at alone.
    """
    offer(p, s, b, k, action, values, max(reserve, 1))
    best, second, tied, winner, highest = 0, 0, 1, -1, 0
    for a in range(p.n_agents):
        bid = s.bids[b, a]
        highest = max(highest, s.worths[b, a])
        second = max(second, min(bid, best))
        if bid == best and bid > 0:
            tied += 1
            if draw(ties, k * p.n_agents + a) * tied < 1.0:
                winner = a
        takes = bid > best
        tied = 1 if takes else tied
        winner = a if takes else winner
        best = max(best, bid)
    s.highest[b] += max(highest, p.rival * reserve)
    if winner < 0:
        s.allocated[b] += p.rival * reserve
        return
    win(s, b, winner, s.worths[b, winner])
    if p.format == ALL_PAY:
        for a in range(p.n_agents):
            pay(s, b, a, s.bids[b, a])
    else:
        pay(s, b, winner, best if p.format == FIRST else max(second, reserve))


@apart
def several(p, s, b, k, action, values, ties):
    """Auction k of the tick for several positions, or under a soft floor: see `mechanisms`. A bid is per unit of exposure.

    It is capped so that the money left pays for the first position. A position's value is the value times its exposure.
    """
    most = max(p.exposures[0], 1.0)
    least = max(p.reserve_money, 1)
    for a in range(p.n_agents):
        value = worth(p, values, k * p.n_agents + a, a)
        s.worths[b, a] = value
        s.tick_values[b, a] += value
        s.tick_squares[b, a] += float(value) * value
        bid = min(action[b, a, 0] * value, s.left[b, a] / most)
        s.offers[b, a] = math.floor(bid) if bid >= least else 0.0
        s.ones[b, a] = 1.0
    s.highest[b] += best_allocation(p, s, b, ties, k)
    count = clear(
        p.format, s.offers[b], s.ones[b], p.exposures, float(least), p.soft_money, ties, k * p.n_agents,
        s.scores[b], s.ranked[b], s.prices[b],
    )  # fmt: skip
    for j in range(min(count, p.slots)):
        a = s.ranked[b, j]
        s.worths[b, a] = int(s.worths[b, a] * p.exposures[j])
        win(s, b, a, s.worths[b, a])
        pay(s, b, a, int(s.prices[b, a] * p.exposures[j]))
        s.prices[b, a] = 0.0
    for a in range(p.n_agents):
        if s.prices[b, a] > 0.0:
            pay(s, b, a, int(s.prices[b, a] * p.exposures[0]))


@rule
def best_allocation(p, s, b, ties, k):
    """Value of giving the positions to the highest values."""
    count, total = 0, 0
    for a in range(p.n_agents):
        if s.worths[b, a] >= max(p.reserve_money, 1):
            count = place(float(s.worths[b, a]), a, ties, k * p.n_agents, p.slots + 1, count, s.scores[b], s.ranked[b])
    for j in range(min(count, p.slots)):
        total += int(s.scores[b, j] * p.exposures[j])
    return total


@rule
def step(p, s, b, action, components, cost):
    clear_tick(p, s, b)
    values, ties, rivals = stream(s, b, VALUES), stream(s, b, TIES), stream(s, b, RIVALS)
    for k in range(p.auctions[s.t[b]]):
        reserve = int(draw(rivals, k) * MICRO) if p.rival else p.reserve_money
        if p.positions:
            several(p, s, b, k, action, values, ties)
        else:
            auction(p, s, b, k, action, values, ties, reserve)
    money = 1.0 / (MICRO * p.auctions_per_tick)
    for a in range(p.n_agents):
        s.last[b, a] = action[b, a, 0]
        s.multipliers[b, a] += action[b, a, 0]
        components[b, a, reward_.profit] = (s.tick_won[b, a] - s.tick_spent[b, a]) * money
        components[b, a, reward_.value] = s.tick_won[b, a] * money
        components[b, a, reward_.cost] = -s.tick_spent[b, a] * money
        cost[b, a, cost_.overpaid] = s.tick_overpaid[b, a] * money
        if p.purses[a] < UNLIMITED:
            cost[b, a, cost_.budget_spent] = s.tick_spent[b, a] / p.purses[a]
    return TERMINATED if s.t[b] + 1 >= p.horizon else RUNNING


@rule
def observe(p, s, b, obs):
    t = s.t[b]
    before = p.auctions[t - 1] if t > 0 else 0
    per_auction = 1.0 / before if before > 0 else 0.0
    time_left, traffic_now, traffic_left = 1.0 - t / p.horizon, p.auctions[t] / p.auctions_per_tick, p.auctions_left[t]
    widest = 0.0
    for a in range(p.n_agents):
        widest = max(widest, p.mean[a])
    values = stream(s, b, VALUES)
    for a in range(p.n_agents):
        limited = p.purses[a] < UNLIMITED
        per_purse = 1.0 / p.purses[a] if limited else 0.0
        per_plan = per_purse * per_auction * p.horizon * p.auctions_per_tick
        left = s.left[b, a] * per_purse
        obs[b, a, obs_.time_left] = time_left
        obs[b, a, obs_.budget_left] = left if limited else 1.0
        obs[b, a, obs_.spend_rate] = s.tick_spent[b, a] * per_plan
        obs[b, a, obs_.pacing_error] = left - traffic_left if limited else 0.0
        obs[b, a, obs_.last_multiplier] = s.last[b, a]
        obs[b, a, obs_.traffic_now] = traffic_now
        obs[b, a, obs_.traffic_left] = traffic_left
        obs[b, a, obs_.hour_sine] = p.sine[t]
        obs[b, a, obs_.hour_cosine] = p.cosine[t]
        obs[b, a, obs_.own_scale] = p.mean[a] / widest
        observe_tick(p, s, b, a, per_auction, obs)
        if p.auctions_per_tick == 1:
            obs[b, a, WIDTH] = worth(p, values, a, a) / p.top[a]


@rule
def observe_tick(p, s, b, a, per_auction, obs):
    """What the bidder saw of the last tick; nothing where there was none."""
    wins, mean = s.tick_wins[b, a], s.tick_values[b, a] * per_auction
    per_mean = 1.0 / p.mean[a]
    obs[b, a, obs_.win_rate] = wins * per_auction
    obs[b, a, obs_.price_mean] = s.tick_spent[b, a] * per_mean / wins if wins > 0 else 0.0
    obs[b, a, obs_.value_mean] = mean * per_mean
    spread = s.tick_squares[b, a] * per_auction / (mean * mean) - 1.0 if mean > 0 else 0.0
    obs[b, a, obs_.value_cv] = math.sqrt(max(spread, 0.0))


@rule
def measure(p, s, b, metrics):
    count = float(p.horizon * p.auctions_per_tick)
    money = 1.0 / (MICRO * count)
    for a in range(p.n_agents):
        metrics[b, a, metric_.surplus] = s.surplus[b, a] * money
        metrics[b, a, metric_.spend] = s.spent[b, a] * money
        metrics[b, a, metric_.value] = s.won[b, a] * money
        metrics[b, a, metric_.revenue] = s.revenue[b] * money
        metrics[b, a, metric_.revenue_share] = s.spent[b, a] / s.revenue[b] if s.revenue[b] > 0 else 0.0
        metrics[b, a, metric_.welfare] = s.allocated[b] * money
        metrics[b, a, metric_.efficiency] = s.allocated[b] / s.highest[b] if s.highest[b] > 0 else 1.0
        metrics[b, a, metric_.win_rate] = s.wins[b, a] / count
        metrics[b, a, metric_.budget_use] = s.spent[b, a] / p.purses[a] if p.purses[a] < UNLIMITED else 0.0
        metrics[b, a, metric_.price] = s.spent[b, a] / (s.wins[b, a] * float(MICRO)) if s.wins[b, a] > 0 else 0.0
        metrics[b, a, metric_.multiplier] = s.multipliers[b, a] / p.horizon


@rule
def balance(p, s, b, residual):
    """revenue = sum of spends; budget = left + spent; value won = surplus + spent; value won and wins add up; no overspend."""
    spent, won, wins = 0, 0, 0
    for q in range(len(AUDIT)):
        residual[b, q] = 0.0
    for a in range(p.n_agents):
        spent += s.spent[b, a]
        won += s.won[b, a]
        wins += s.wins[b, a]
        residual[b, 1] += abs(p.purses[a] - s.left[b, a] - s.spent[b, a])
        residual[b, 2] += abs(s.won[b, a] - s.surplus[b, a] - s.spent[b, a])
        residual[b, 5] += max(0, s.spent[b, a] - p.purses[a]) + max(0, -s.left[b, a])
    residual[b, 0] = s.revenue[b] - spent
    residual[b, 3] = 0.0 if p.rival else s.allocated[b] - won
    residual[b, 4] = s.sold[b] - wins
