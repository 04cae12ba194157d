"""Firms that set prices again and again, with logit demand: Calvano, Calzolari, Denicolò and Pastorello 2020.

"Artificial intelligence, algorithmic pricing, and collusion", American Economic Review 110. A firm that asks price x sells
q = exp((quality - x) / mu) / (sum over firms of exp((quality - x) / mu) + exp(outside / mu)) and earns (x - cost) q in each tick.
Prices are `m` equal steps from below the one-shot equilibrium to above the monopoly price, by a share `margin` of what lies
between them. Firms see all prices of the last tick. The game goes on, so that the horizon truncates.

The metric `collusion` is the index of the paper, for firms that all learn. The score is another thing, one firm against others at
the monopoly price: whoever undercuts them scores above 1.

Both prices are roots: equilibrium x = cost + mu / (1 - q), joint monopoly x = cost + mu / (1 - firms q), q that of equal prices x.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from marl.compiled import rule
from marl.game import F4, F8, I8, RUNNING, TRUNCATED, Column, Component, Discrete, Game, Role, array, inf
from marl.params import Params, derived, param
from marl.rng import uniform

FIRST = 0


@dataclass(frozen=True)
class BertrandParams(Params):
    TABLES: ClassVar[tuple[str, ...]] = ("prices",)
    n_agents: int = param(2, 2, 16, "firms")
    m: int = param(15, 2, 1000, "prices")
    quality: float = param(2.0, -10.0, 10.0, "$ per unit, beside the price")
    outside: float = param(0.0, -10.0, 10.0, "$ per unit, of buying nothing")
    cost: float = param(1.0, 0.0, 10.0, "$ per unit")
    mu: float = param(0.25, 0.05, 10.0, "$ per unit", "how little the firms' products replace each other")
    margin: float = param(0.1, 0.0, 1.0, "share", "of the way from equilibrium to monopoly, beyond both")
    horizon: int = param(1000, 1, 1_000_000, "ticks")

    @derived
    def nash_profit(self) -> float:
        return profit(self, nash_price(self))

    @derived
    def monopoly_profit(self) -> float:
        return profit(self, monopoly_price(self))

    def tables(self) -> Mapping[str, npt.NDArray[Any]]:
        return {"prices": grid(self)}


def demand(p: BertrandParams, price: float) -> float:
    """Units a firm sells when all ask that price."""
    return 1.0 / (p.n_agents + math.exp((p.outside - p.quality + price) / p.mu))


def profit(p: BertrandParams, price: float) -> float:
    """$ a tick of a firm when all ask that price."""
    return (price - p.cost) * demand(p, price)


def _root(f: Callable[[float], float], low: float) -> float:
    """Where the decreasing f crosses 0 above `low`, by bisection."""
    high = low + 1.0
    while f(high) > 0:
        high = low + 2 * (high - low)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if f(middle) > 0 else (low, middle)
    return (low + high) / 2


@lru_cache(maxsize=64)
def nash_price(p: BertrandParams) -> float:
    """The symmetric equilibrium of one tick."""
    return _root(lambda x: p.mu - (x - p.cost) * (1 - demand(p, x)), p.cost)


@lru_cache(maxsize=64)
def monopoly_price(p: BertrandParams) -> float:
    """The common price that earns the firms most together."""
    return _root(lambda x: p.mu - (x - p.cost) * (1 - p.n_agents * demand(p, x)), p.cost)


def grid(p: BertrandParams) -> F8:
    """[m] prices, $."""
    low, high = nash_price(p), monopoly_price(p)
    return np.linspace(low - p.margin * (high - low), high + p.margin * (high - low), p.m)


class BertrandState(NamedTuple):
    last: I8 = array("agents")  # [B, A] number of the last price
    weight: F8 = array("agents")  # [B, A] exp((quality - price) / mu) of this tick
    earned: F8 = array("agents")  # [B, A] $ in this episode
    asked: F8 = array("agents")  # [B, A] sum of prices in this episode


@rule
def begin(p, s, b):
    for a in range(p.n_agents):
        s.last[b, a] = int(p.m * uniform(s, b, FIRST, a))
        s.weight[b, a] = s.earned[b, a] = s.asked[b, a] = 0.0


@rule
def step(p, s, b, action, components, cost):
    whole = math.exp(p.outside / p.mu)
    for a in range(p.n_agents):
        s.last[b, a] = int(action[b, a, 0])
        s.weight[b, a] = math.exp((p.quality - p.prices[s.last[b, a]]) / p.mu)
        whole += s.weight[b, a]
    for a in range(p.n_agents):
        price = p.prices[s.last[b, a]]
        components[b, a, 0] = (price - p.cost) * s.weight[b, a] / whole
        s.earned[b, a] += components[b, a, 0]
        s.asked[b, a] += price
    return TRUNCATED if s.t[b] + 1 >= p.horizon else RUNNING


@rule
def observe(p, s, b, obs):
    for a in range(p.n_agents):
        obs[b, a, 0] = p.prices[s.last[b, a]]
        c = 1
        for i in range(p.n_agents):
            if i != a:
                obs[b, a, c] = p.prices[s.last[b, i]]
                c += 1


@rule
def measure(p, s, b, metrics):
    total = 0.0
    for a in range(p.n_agents):
        total += s.earned[b, a]
    mean = total / (p.n_agents * s.t[b])
    for a in range(p.n_agents):
        metrics[b, a, 0] = s.earned[b, a] / s.t[b]
        metrics[b, a, 1] = s.asked[b, a] / s.t[b]
        metrics[b, a, 2] = (mean - p.nash_profit) / (p.monopoly_profit - p.nash_profit)


METRICS = {
    "profit": Column(-inf, inf, "$ a tick, the firm's"),
    "price": Column(-inf, inf, "$, mean over ticks"),
    "collusion": Column(-inf, 1 + 1e-9, "all firms' profit, 0 at the equilibrium of one tick, 1 at monopoly"),
}


def roles(p: BertrandParams) -> tuple[Role, ...]:
    """Firms see their own last price, then the others'; at first drawn ones."""
    prices = grid(p)
    asked = Column(float(prices[0]), float(prices[-1]), "$")
    seen = {"own_price": asked} | {f"rival_{i}_price": asked for i in range(p.n_agents - 1)}
    return (Role("firm", p.n_agents, seen, {"price": Discrete(p.m)}),)


def known(p: BertrandParams) -> dict[str, float]:
    """Prices and profits of one tick at equilibrium and at monopoly.

    Under a metric's name is the price at equilibrium alone: the two equilibria of the published grid, 1.4665 and 1.5052 $, are on either
    side of it and within a fortieth, their profits differ by a fourteenth.
    """
    return {
        "price": nash_price(p),
        "nash_price": nash_price(p),
        "nash_profit": p.nash_profit,
        "monopoly_price": monopoly_price(p),
        "monopoly_profit": p.monopoly_profit,
    }


def together(p: BertrandParams) -> dict[str, float]:
    """Those of firms that share their profits: the monopoly's."""
    return {"price": monopoly_price(p), "profit": p.monopoly_profit}


def nearest(price: Callable[[BertrandParams], float]) -> Any:
    """The baseline that always asks the grid's price nearest to `price(params)`."""

    def act(p: BertrandParams, obs: F4, generator: np.random.Generator) -> F8:
        return np.full((len(obs), 1), float(np.abs(grid(p) - price(p)).argmin()))

    return act


BERTRAND = Game(
    "bertrand",
    version=0,
    params=BertrandParams,
    state=BertrandState,
    roles=roles,
    begin=begin,
    step=step,
    observe=observe,
    measure=measure,
    metrics=METRICS,
    reward={"profit": Component(1.0, "$")},
    baselines={"nash": nearest(nash_price), "monopoly": nearest(monopoly_price)},
    naive="nash",
    below=True,
    reference=lambda p: "monopoly",
    known=known,
    together=together,
    presets={"calvano_2020": {}, "brief": {"horizon": 100}},
    citation="Calvano, Calzolari, Denicolò and Pastorello 2020, Artificial intelligence, algorithmic pricing, and collusion, AER 110",
)
