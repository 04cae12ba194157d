# mypy: allow-untyped-defs, allow-incomplete-defs
"""What is measured at the end of an episode of mode advertising, and what must add up on every step."""

from __future__ import annotations

import math

from envs.auction.exchange import AUDIT as ONE_IN
from envs.auction.params import MICRO, MOST_SLOTS, STAGES, UNLIMITED
from envs.auction.state import all_, apart, inlined, mean_, own_, whole_
from marl.compiled import rule
from marl.game import Column, index, inf

METRICS = {
    "surplus": Column(-inf, inf, "$ per episode, value less spend"),
    "spend": Column(0, inf, "$ per episode"),
    "value": Column(0, inf, "$ per episode"),
    "revenue": Column(0, inf, "$ per episode, all advertisers'"),
    "revenue_share": Column(0, 1, "spend over revenue"),
    "welfare": Column(0, inf, "$ per auction, expected value as allocated, audited auctions"),
    "efficiency": Column(0, 1, "welfare over that of the highest values, audited auctions"),
    "win_rate": Column(0, 1, "positions won per auction"),
    "budget_use": Column(0, 1, "share of the budget, 0 without one"),
    "exhaustion": Column(0, 1, "share of the horizon until the budget is spent, 1 where it is not"),
    "pacing_rmse": Column(0, 1, "root mean square of spend share less traffic share, 0 without a budget"),
    "clicks": Column(0, inf, "per episode"),
    "conversions": Column(0, inf, "per episode, seen"),
    "attributed": Column(0, inf, "$ per episode, conversions seen with a tracked touch"),
    "pending": Column(0, inf, "conversions still to come at the end"),
    "ctr": Column(0, 1, "clicks per exposure"),
    "cvr": Column(0, inf, "conversions seen per click"),
    "roas": Column(0, inf, "value over spend, 0 without spend"),
    "cpa_ratio": Column(0, inf, "spend per conversion over the target, 0 without one"),
    "score": Column(0, inf, "conversions x min(1, (target/CPA)^2), AuctionNet's"),
    "average_position": Column(0, MOST_SLOTS, "of exposures, 0 without any"),
    **{f"position_{j + 1}": Column(0, 1, "share of the exposures") for j in range(MOST_SLOTS)},
    "regret_allocation": Column(0, inf, "$ per auction, best creative against the one in use, per exposure"),
    "regret_estimation": Column(0, inf, "$ per audited auction, |estimate - value|"),
    "regret_overbid": Column(0, inf, "$ per audited auction, price above value where won"),
    "regret_underbid": Column(0, inf, "$ per audited auction, value above the last position's price where lost"),
    "hhi": Column(0, 1, "Herfindahl's index of spend, 0 without any"),
    "gini": Column(0, 1, "of spend"),
    "creative_diversity": Column(0, 1, "entropy of exposures over creatives, over its most"),
    "safety": Column(0, 1, "mean brand safety of exposures"),
    "violations": Column(0, 1, "share of ticks above target or stopped by the daily limit"),
    "multiplier": Column(0, inf, "mean over ticks; of bids in $ the bid"),
}
AUDIT = ("revenue", "budget", "conversions", "tracked", "users", "positions", "exposures", "overspend")
metric_, audit_ = index(METRICS), index(dict.fromkeys(AUDIT))


@rule
def ratio(x, y):
    return x / y if y > 0 else 0.0


@inlined
def spread_of(p, s, b):
    """(Herfindahl's index, Gini's coefficient) of spend; Gini = sum |x_i - x_j| / (2 n sum x)."""
    total, squares, apart = 0.0, 0.0, 0.0
    for a in range(p.n_agents):
        x = float(s.own[b, a, own_.spent])
        total += x
        squares += x * x
        for i in range(p.n_agents):
            apart += abs(x - s.own[b, i, own_.spent])
    return ratio(squares, total * total), ratio(apart, 2.0 * p.n_agents * total)


@inlined
def diversity_of(p, s, b, a):
    shown, found = float(s.own[b, a, own_.shown]), 0.0
    for c in range(p.creatives):
        own = 0
        for g in range(p.segments):
            own += s.made[b, a, c, g, 0]
        if own > 0:
            found -= own / shown * math.log(own / shown)
    return min(1.0, found / math.log(float(p.creatives))) if p.creatives > 1 else 0.0


@inlined
def still_due(p, s, b, a):
    """Conversions in the ring."""
    waiting = 0
    for i in range(p.ring_cells):
        waiting += s.ring[b, a, i, 0]
    return waiting


@apart
def measure(p, s, b, metrics):
    hhi, gini = spread_of(p, s, b)
    auctions = float(p.horizon * p.auctions_per_tick)
    audited = float(max(s.all[b, all_.audited], 1))
    for a in range(p.n_agents):
        spent, won, shown, seen = s.own[b, a, own_.spent], s.own[b, a, own_.won], s.own[b, a, own_.shown], s.own[b, a, own_.seen]
        clicks = s.own[b, a, own_.clicks]
        metrics[b, a, metric_.surplus] = (won - spent) / MICRO
        metrics[b, a, metric_.spend] = spent / MICRO
        metrics[b, a, metric_.value] = won / MICRO
        metrics[b, a, metric_.revenue] = s.all[b, all_.revenue] / MICRO
        metrics[b, a, metric_.revenue_share] = ratio(float(spent), float(s.all[b, all_.revenue]))
        metrics[b, a, metric_.welfare] = s.whole[b, whole_.allocated] / audited
        metrics[b, a, metric_.efficiency] = min(1.0, ratio(s.whole[b, whole_.allocated], s.whole[b, whole_.best]))
        metrics[b, a, metric_.win_rate] = s.own[b, a, own_.wins] / auctions
        limited = p.purses[a] < UNLIMITED
        metrics[b, a, metric_.budget_use] = spent / p.purses[a] if limited else 0.0
        gone = s.own[b, a, own_.exhausted]
        metrics[b, a, metric_.exhaustion] = gone / p.horizon if gone > 0 else 1.0
        metrics[b, a, metric_.pacing_rmse] = min(1.0, math.sqrt(s.mean[b, a, mean_.miss] / p.horizon))
        metrics[b, a, metric_.clicks], metrics[b, a, metric_.conversions] = clicks, seen
        metrics[b, a, metric_.attributed] = s.own[b, a, own_.tracked] * p.worth[a] / MICRO
        metrics[b, a, metric_.pending] = s.own[b, a, own_.later] + still_due(p, s, b, a)
        metrics[b, a, metric_.ctr], metrics[b, a, metric_.cvr] = ratio(float(clicks), float(shown)), ratio(float(seen), float(clicks))
        metrics[b, a, metric_.roas] = ratio(float(won), float(spent))
        over = spent / (p.target[a] * max(seen, 1)) if p.target[a] > 0.0 else 0.0
        metrics[b, a, metric_.cpa_ratio] = over
        metrics[b, a, metric_.score] = seen * min(1.0, 1.0 / (over * over)) if over > 0.0 else float(seen)
        metrics[b, a, metric_.average_position] = ratio(float(s.own[b, a, own_.places]), float(shown))
        for j in range(MOST_SLOTS):
            metrics[b, a, metric_.position_1 + j] = ratio(float(s.place[b, a, j]), float(shown)) if j < p.slots else 0.0
        metrics[b, a, metric_.regret_allocation] = max(0.0, s.mean[b, a, mean_.allocation] / p.horizon)
        metrics[b, a, metric_.regret_estimation] = s.mean[b, a, mean_.estimation] / audited
        metrics[b, a, metric_.regret_overbid] = s.mean[b, a, mean_.overbid] / audited
        metrics[b, a, metric_.regret_underbid] = s.mean[b, a, mean_.underbid] / audited
        metrics[b, a, metric_.hhi], metrics[b, a, metric_.gini] = hhi, gini
        metrics[b, a, metric_.creative_diversity] = diversity_of(p, s, b, a)
        metrics[b, a, metric_.safety] = ratio(s.mean[b, a, mean_.safety], float(shown))
        metrics[b, a, metric_.violations] = s.own[b, a, own_.over_target] / p.horizon
        metrics[b, a, metric_.multiplier] = s.mean[b, a, mean_.multipliers] / p.horizon


@apart
def balance(p, s, b, residual):
    """revenue = sum of spends; budget = left + spent; drawn = seen + expired + later + waiting; tracked ones wait where conversions do;
    users are neither made nor lost; positions sold = won; exposures by position = exposures; nobody spends more than the budget."""
    spent, wins = 0, 0
    for q in range(len(AUDIT)):
        residual[b, q] = 0.0
    for a in range(p.n_agents):
        spent += s.own[b, a, own_.spent]
        wins += s.own[b, a, own_.wins]
        waiting, tracked, places = 0, 0, 0
        for i in range(p.ring_cells):
            waiting += s.ring[b, a, i, 0]
            tracked += s.ring[b, a, i, 1]
        for j in range(p.slots):
            places += s.place[b, a, j]
        residual[b, audit_.budget] += abs(p.purses[a] - s.own[b, a, own_.left] - s.own[b, a, own_.spent])
        gone = s.own[b, a, own_.seen] + s.own[b, a, own_.expired] + s.own[b, a, own_.later] + waiting
        residual[b, audit_.conversions] += abs(s.own[b, a, own_.drawn] - gone)
        residual[b, audit_.tracked] += abs(s.own[b, a, own_.waiting] - tracked) + max(0, s.own[b, a, own_.tracked] - s.own[b, a, own_.seen])
        residual[b, audit_.users] += lost_users(p, s, b, a)
        residual[b, audit_.exposures] += abs(s.own[b, a, own_.shown] - places)
        residual[b, audit_.overspend] += max(0, s.own[b, a, own_.spent] - p.purses[a]) + max(0, -s.own[b, a, own_.left])
    residual[b, audit_.revenue] = s.all[b, all_.revenue] - spent
    residual[b, audit_.positions] = s.all[b, all_.sold] - wins


@inlined
def lost_users(p, s, b, a):
    total, odd = 0, 0
    for g in range(p.segments):
        for i in range(STAGES):
            total += s.pool[b, a, g, i]
            odd += max(0, -s.pool[b, a, g, i])
    return abs(total - (p.cohort_size if p.cohort_size > 0 else p.segments * p.population)) + odd


__all__ = ["AUDIT", "METRICS", "ONE_IN", "balance", "measure"]
