# mypy: allow-untyped-defs, allow-incomplete-defs
"""Customers' demand of a tick, and nodes that fail. Every law is drawn by one number of an address: its quantile of it."""

from __future__ import annotations

import math

from envs.supply_chain.layout import at_, cycle_, each_
from envs.supply_chain.params import AR1, CONSTANT, NEGATIVE_BINOMIAL, NORMAL, TRACE, UNIFORM
from envs.supply_chain.state import all_, item_, node_, note_
from marl.compiled import inlined, rule
from marl.rng import draw, gaussian, stream

DEMANDS, COMMON, WAVES, REGIMES, OFFSET, OUTAGES, REPAIRS, LEADS, SUPPLY = range(9)
MOST = 20_000
"""Units at which the inversion of a counted demand stops."""
ROOT_TWO = math.sqrt(2.0)


@inlined
def poisson_quantile(u, mean):
    """The least k with P(D <= k) > u of Poisson demand."""
    term, k = math.exp(-mean), 0
    reached = term
    while u >= reached and k < MOST:
        k += 1
        term *= mean / k
        reached += term
    return k


@inlined
def binomial_quantile(u, mean, cv):
    """The same of the negative binomial law with this mean and coefficient of variation: r = 1/(cv^2 - 1/mean), p0 = (r/(r + mean))^r."""
    r = 1.0 / (cv * cv - 1.0 / mean)
    share, k = mean / (r + mean), 0
    term = math.exp(r * math.log(1.0 - share))
    reached = term
    while u >= reached and k < MOST:
        term *= (k + r) / (k + 1) * share
        k += 1
        reached += term
    return k


@inlined
def mixed(own, common, correlation):
    """A normal number that shares `correlation` of its variance with the common one."""
    return math.sqrt(correlation) * common + math.sqrt(1.0 - correlation) * own


@inlined
def day_of(p, s, b):
    """Row of the replayed part of the trace; 0 without a trace."""
    return (s.all[b, all_.offset] + s.t[b]) % p.replay_days


@inlined
def season_of(p, s, b):
    """Tick of the season; of a trace that of its day, wherever the replay began."""
    return (p.days_before + day_of(p, s, b) if p.demand == TRACE else s.t[b]) % p.period


@inlined
def level_of(p, s, b, j, k, season):
    """Mean demand of a retailer and product in this tick, parts."""
    mean = p.each[j, k, each_.mean] * p.cycle[season, cycle_.factor]
    mean *= p.regime if s.all[b, all_.regime] == 1 else 1.0
    return mean * p.step_to if p.step_at > 0 and s.t[b] >= p.step_at else mean


@inlined
def demanded(p, s, b, j, k, season, demands, common):
    """Parts that customers of retailer j want of product k."""
    mean, at, correlation = level_of(p, s, b, j, k, season), j * p.products + k, p.correlation
    if p.demand == CONSTANT or mean <= 0.0:
        return int(mean + 0.5)
    if p.demand == NORMAL or p.demand == AR1:
        z = gaussian(demands, at)
        z = mixed(z, gaussian(common, k), correlation) if correlation > 0.0 else z
        if p.demand == NORMAL:
            return max(0, math.floor(mean + z * p.demand_sd * p.parts + 0.5))
        s.note[b, j, k, note_.wave] = p.persistence * s.note[b, j, k, note_.wave] + z * p.demand_sd * p.parts
        return max(0, math.floor(mean + s.note[b, j, k, note_.wave] + 0.5))
    if correlation > 0.0:
        u = 0.5 * math.erfc(-mixed(gaussian(demands, at), gaussian(common, k), correlation) / ROOT_TWO)
    else:
        u = draw(demands, at)
    units = mean / p.parts
    if p.demand == UNIFORM:
        return int(u * (int(2.0 * units + 0.5) + 1)) * p.parts
    return (binomial_quantile(u, units, p.demand_cv) if p.demand == NEGATIVE_BINOMIAL else poisson_quantile(u, units)) * p.parts


@rule
def want(p, s, b):
    """Fill `asked` of all retailers."""
    demands = stream(s, b, DEMANDS)
    common = stream(s, b, COMMON) if p.correlation > 0.0 else demands
    day, season = day_of(p, s, b), season_of(p, s, b)
    for j in range(p.n_agents):
        if p.nodes[j, at_.retail] < 0:
            continue
        for k in range(p.products):
            if p.demand == TRACE:
                s.item[b, j, k, item_.asked] = p.series[day, p.nodes[j, at_.retail] * p.products + k]
            else:
                s.item[b, j, k, item_.asked] = demanded(p, s, b, j, k, season, demands, common)


@rule
def begin_demand(p, s, b):
    """The long run's law of what demand remembers: the wave of ar1, the regime, the day of the trace."""
    waves, regimes = stream(s, b, WAVES), stream(s, b, REGIMES)
    spread = p.demand_sd * p.parts / math.sqrt(1.0 - p.persistence * p.persistence)
    for j in range(p.n_agents):
        for k in range(p.products):
            moves = p.demand == AR1 and p.nodes[j, at_.retail] >= 0
            s.note[b, j, k, note_.wave] = spread * gaussian(waves, j * p.products + k) if moves else 0.0
    often = p.regime_length / (p.regime_length + p.calm_length)
    s.all[b, all_.regime] = 1 if p.regime != 1.0 and draw(regimes, 0) < often else 0
    s.all[b, all_.offset] = int(draw(stream(s, b, OFFSET), 0) * p.replay_days) if p.wanders else 0


@rule
def shift(p, s, b):
    """The regime may change; nodes come back or fail, for a geometric time."""
    if p.regime != 1.0 and s.t[b] > 0:
        u = draw(stream(s, b, REGIMES), 0)
        leaves = u < 1.0 / (p.regime_length if s.all[b, all_.regime] == 1 else p.calm_length)
        s.all[b, all_.regime] = 1 - s.all[b, all_.regime] if leaves else s.all[b, all_.regime]
    if p.disruption > 0.0:
        outages, repairs = stream(s, b, OUTAGES), stream(s, b, REPAIRS)
        for j in range(p.n_agents):
            if s.node[b, j, node_.down] > 0:
                s.node[b, j, node_.down] -= 1
            elif draw(outages, j) < p.disruption:
                fail(p, s, b, j, draw(repairs, j))


@inlined
def fail(p, s, b, j, u):
    """Node j is down for 1 + geometric ticks; what it owes now is what it has recovered from the outage with."""
    s.node[b, j, node_.down] = 1 + int(math.log(1.0 - u) / p.log_outage) if p.log_outage < 0.0 else 1
    if s.node[b, j, node_.failed_at] == 0:
        owed = 0
        for k in range(p.products):
            owed += s.item[b, j, k, item_.owed]
        s.node[b, j, node_.failed_at], s.node[b, j, node_.failed_owed] = s.t[b] + 1, owed
