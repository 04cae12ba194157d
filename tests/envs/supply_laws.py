"""Parts of the plain-Python twin of the supply chain: links, counted demand by its probabilities, forecasters."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from envs.supply_chain.params import SupplyChainParams


@dataclass(eq=False)
class Link:
    buyer: int
    supplier: int
    lead: int
    lag: int
    orders: list[tuple[int, int, int]] = field(default_factory=list)  # (due, product, units)
    moving: list[tuple[int, int, int]] = field(default_factory=list)
    old: dict[int, int] = field(default_factory=dict)
    new: dict[int, int] = field(default_factory=dict)
    kits: dict[int, int] = field(default_factory=dict)
    got: int = 0

    def owed(self, k: int) -> int:
        return self.old.get(k, 0) + self.new.get(k, 0)

    def pipeline(self, k: int) -> int:
        return sum(units for _, product, units in self.moving if product == k)

    def ordered(self, k: int) -> int:
        return sum(units for _, product, units in self.orders if product == k)


def counted(p: SupplyChainParams, units: float, u: float) -> int:
    """How many of the probabilities' sums from 0 on are at most u, for demand of so many units on average."""
    if p.demand == "uniform":
        return int(u * (int(2 * units + 0.5) + 1))
    ticks = range(3_000)
    if p.demand == "poisson":
        law = [math.exp(x * math.log(units) - units - math.lgamma(x + 1)) for x in ticks]
    else:
        r = 1 / (p.demand_cv**2 - 1 / units)
        head, tail = r * math.log(r / (r + units)), math.log(units / (r + units))
        law = [math.exp(math.lgamma(x + r) - math.lgamma(r) - math.lgamma(x + 1) + head + x * tail) for x in ticks]
    return int((np.cumsum(law) <= u).sum())


def spread_of(p: SupplyChainParams, j: int, k: int) -> float:
    """Standard deviation of a tick's demand through node j over its mean: of each retailer's law, then of what moves all means."""
    own = [law_sd(p, i, k) for i in range(p.n_agents)]
    share = p.layout.share[j].tolist()
    alone, together = math.sqrt(sum((a * sd) ** 2 for a, sd in zip(share, own))), sum(a * sd for a, sd in zip(share, own))
    common = math.sqrt(p.correlation)
    demand = (common * together + (1 - common) * alone) / p.flow[j, k]
    other = p.regime_length / (p.regime_length + p.calm_length)
    late = max(0.0, (p.horizon - p.step_at) / p.horizon) if p.step_at else 0.0
    means = [1 + p.amplitude * math.sin(2 * math.pi * i / 360) for i in range(360)], [p.regime, 1.0], [p.step_to, 1.0]
    chances = [1 / 360] * 360, [other, 1 - other], [late, 1 - late]
    moved = sum(sum(c * x * x for c, x in zip(cs, xs)) - sum(c * x for c, x in zip(cs, xs)) ** 2 for cs, xs in zip(chances, means))
    return max(math.sqrt(demand**2 + moved), 0.1)


def law_sd(p: SupplyChainParams, i: int, k: int) -> float:
    mean = float(p.mean[i, k])
    if mean <= 0 or p.demand == "constant":
        return 0.0
    if p.demand == "trace":
        days = p.training[:, np.flatnonzero(p.mean.sum(1) > 0).tolist().index(i) * p.products + k].tolist()
        return math.sqrt(sum(x * x for x in days) / len(days) - (sum(days) / len(days)) ** 2)
    return {
        "uniform": math.sqrt(mean * (mean + 1) / 3), "poisson": math.sqrt(mean), "negative_binomial": p.demand_cv * mean,
        "normal": p.demand_sd, "ar1": p.demand_sd / math.sqrt(1 - p.persistence**2),
    }[p.demand]  # fmt: skip


def asked_for(p: SupplyChainParams, x: float, flow: float, spread: float, cover: float, came: int, position: int) -> int:
    """Parts that an action of x orders, at a mean demand of `flow` parts whose deviation is `spread` of it."""
    each = flow if p.unit == "means" else flow * spread
    if p.action == "delta":
        return max(0, came + math.floor(x * each + 0.5))
    if p.action == "quantity":
        return max(0, math.floor((0.0 if p.unit == "means" else flow) + x * each + 0.5))
    if p.unit == "deviations" and p.fixed > 0 and x < 0:
        return 0
    level = x * flow * cover if p.unit == "means" else flow * cover + x * each * math.sqrt(cover)
    return max(0, math.floor(level + 0.5) - position)


def divided(supply: int, claims: list[int], before: list[int], got: list[int], weights: list[float], order: list[int], first: bool) -> None:
    """Add to `got` what each claim gets of the supply: in proportion to weight x claim by cumulated rounding, or `first` come first."""
    total = 0.0
    for claim, weight in zip(claims, weights):
        total += claim * weight
    reached, given, left = 0.0, 0, supply
    for c in order:
        reached += claims[c] * weights[c]
        upto = int(supply * (reached / total) + 1e-9)
        part = min(claims[c], left) if first else min(claims[c], upto - given, left)
        given, left = upto, left - part
        got[c] += part
    for c in order:
        part = min(left, claims[c] + before[c] - got[c])
        got[c] += part
        left -= part


class Forecaster:
    """What a node expects of the next tick."""

    def __init__(self, p: SupplyChainParams, mean: float) -> None:
        self.p, self.value, self.level, self.slope, self.size, self.gap, self.since = p, mean, mean, 0.0, mean, 1.0, 1
        self.season = [0.0] * p.season_slots
        self.mean, self.var, self.cov, self.last = mean, 0.0, 0.0, mean

    def learn(self, t: int, history: list[int]) -> None:
        p, d, a = self.p, history[-1], self.p.smoothing
        if p.forecast == "moving":
            self.value = float(np.mean(history[-p.window :]))
        elif p.forecast == "ses":
            self.level = self.value = a * d + (1 - a) * self.level
        elif p.forecast == "holt_winters":
            level = a * (d - self.season[t % p.period]) + (1 - a) * (self.level + self.slope)
            self.season[t % p.period] = p.seasonal * (d - self.level - self.slope) + (1 - p.seasonal) * self.season[t % p.period]
            self.slope = p.trend * (level - self.level) + (1 - p.trend) * self.slope
            self.level = level
            self.value = max(0.0, level + self.slope + self.season[(t + 1) % p.period])
        elif p.forecast in ("croston", "sba"):
            if d > 0:
                self.size, self.gap, self.since = a * d + (1 - a) * self.size, a * self.since + (1 - a) * self.gap, 0
            self.since += 1
            self.value = self.size / self.gap * (1.0 if p.forecast == "croston" else 1 - a / 2)
        else:
            off, before = d - self.mean, self.last - self.mean
            self.var, self.cov = a * off**2 + (1 - a) * self.var, a * off * before + (1 - a) * self.cov
            self.mean, self.last = self.mean + a * off, d
            slope = min(max(self.cov / self.var if self.var > 0 else 0.0, -0.99), 0.99)
            self.value = max(0.0, self.mean + slope * (d - self.mean))


def season_of(p: SupplyChainParams, offset: int, t: int) -> int:
    """Tick of the season: of a trace that of its day, counted from its first, of which the held-out days are the last."""
    if p.demand != "trace":
        return t % p.period
    return ((len(p.training) if p.split == "test" else 0) + (offset + t) % p.replay_days) % p.period
