# mypy: allow-untyped-defs, allow-incomplete-defs
"""Liquidation: traders sell what they must by the end, and every sale moves the price for all.

A tick of length tau: all sell n_i at once at S - eps sgn(n_i) - (eta/tau + within gamma) sum n, then S falls by gamma sum n and moves by
sigma sqrt(tau) xi. `within` is the share of its own tick's permanent impact that a sale meets: 0 in Almgren and Chriss 2000, where one
seller trades cost against risk; 1/2 in the limit of small ticks of Carlin, Lobo and Viswanathan 2007, where several race to the exit or
one is preyed upon. What is left goes in the last tick. With sight `open` nobody sees what others did: their equilibrium is in open loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from envs.trading import theory
from envs.trading.ledger import MICRO, clear, deal, endow, missing_cash, missing_shares, whole
from marl.compiled import rule
from marl.errors import UserError
from marl.game import F4, F8, I8, RUNNING, TERMINATED, Column, Component, Game, Picture, Role, array, index, inf
from marl.params import Params, choice, derived, param
from marl.rng import normal

MOVES = 0
CLOSED = 1


@dataclass(frozen=True)
class LiquidationParams(Params):
    n_agents: int = param(1, 1, 128, "traders")
    horizon: int = param(5, 1, 10_000, "ticks")
    span: float = param(5.0, 1e-6, 1e6, "units of time", "of the whole sale")
    shares: int = param(1_000_000, 1, 10_000_000, "shares", "that all sell together")
    owners: str = choice("equal", ("equal", "first"), "who begins with them: all alike, or the first trader, and the others prey on it")
    price: float = param(50.0, 1e-3, 1e4, "$", "at the beginning")
    sigma: float = param(0.95, 0.0, 1e4, "$ a square root of time", "volatility")
    fixed: float = param(0.0625, 0.0, 1e3, "$ a share", "half of the spread")
    permanent: float = param(2.5e-7, 0.0, 1.0, "$ a share, a share", "gamma: what a sale moves the price for good")
    temporary: float = param(2.5e-6, 1e-12, 1.0, "$ a share, a share a unit of time", "eta or lambda: what the rate of sale costs")
    within: float = param(0.0, 0.0, 1.0, "share", "of its own tick's permanent impact that a sale meets")
    aversion: float = param(1e-6, 0.0, 1.0, "1/$", "lambda: of the variance of the cost")
    fastest: float = param(5.0, 1.0, 1e4, "even splits", "fastest sale in a tick")
    reverse: float = param(0.0, 0.0, 1e4, "even splits", "fastest purchase in a tick; 0: nobody buys or sells short")
    sight: str = choice("open", ("open", "closed"), "closed: the price and the pace of all are seen as well")

    def validate(self) -> None:
        fall = (self.permanent + self.temporary / self.tau) * self.shares * self.n_agents * max(self.fastest, self.reverse) / self.horizon
        if not fall < 1e6:
            raise UserError(f"LiquidationParams.temporary = {self.temporary}: sales may move the price by {fall:.3g} $, legal is below 1e6")

    @property
    def law(self) -> theory.ExecutionLaw:
        """The lone seller's problem of all shares."""
        net = self.temporary + self.within * self.permanent * self.tau
        return theory.ExecutionLaw(float(self.shares), self.span, self.horizon, self.sigma, self.fixed, self.permanent, net, self.aversion)

    @property
    def sold(self) -> F8:
        """What each trader must sell, as a share of all [A]."""
        if self.owners == "equal":
            return np.full(self.n_agents, 1 / self.n_agents)
        return np.eye(self.n_agents)[0]

    @derived
    def traders(self) -> int:
        """Agents and the world."""
        return self.n_agents + 1

    @derived
    def assets(self) -> int:
        return 1

    @derived
    def tau(self) -> float:
        return self.span / self.horizon

    @derived
    def even(self) -> float:
        """Shares of an even split: those of a tick if a trader with the mean, or the first one, sells evenly."""
        return self.shares / self.horizon / (self.n_agents if self.owners == "equal" else 1)

    @derived
    def slope(self) -> float:
        """Millionths of a dollar by which a share of the tick's sum lowers the tick's price."""
        return MICRO * (self.temporary / self.tau + self.within * self.permanent)

    @derived
    def scale(self) -> float:
        """$ that selling everything evenly costs in the mean: the unit of rewards."""
        return theory.shortfall(np.linspace(float(self.shares), 0.0, self.horizon + 1), self.law)[0]

    @derived
    def step_sd(self) -> float:
        """Millionths of a dollar of the price's move in a tick."""
        return MICRO * self.sigma * sqrt(self.tau)


OBSERVATION = {
    "time_left": Column(0, 1, "share of the horizon"),
    "left": Column(-inf, inf, "own shares to sell, over the largest amount that a trader begins with"),
    "target": Column(0, 1, "shares at the beginning, over the same"),
}
CLOSED_SIGHT = {
    "price": Column(-inf, inf, "change since the beginning over the even sale's mean cost a share"),
    "pace": Column(-inf, inf, "mean of all in the last tick, even splits"),
}
REWARD = {"cost": Component(1.0, "of the even sale's mean cost, negative"), "risk": Component(1.0, "the same")}
METRICS = {
    "cost": Column(-inf, inf, "shortfall against the first price over the even sale's mean cost, the trader's"),
    "total_cost": Column(-inf, inf, "of all traders"),
    "shortfall": Column(-inf, inf, "$, the trader's"),
    "shortfall_bps": Column(-inf, inf, "basis points of the first price, of all that is sold"),
    "risk": Column(0, inf, "aversion x variance of the schedule, $"),
    "forced": Column(0, 1, "share of the largest amount that the last tick had to sell against the order"),
}
obs_, metric_ = index(OBSERVATION | CLOSED_SIGHT), index(METRICS)


class LiquidationState(NamedTuple):
    cash: I8 = array("traders")  # [B, A + 1] millionths of a dollar
    shares: I8 = array("traders", "assets")  # [B, A + 1, 1]
    fees: I8 = array()  # [B]
    mid: I8 = array()  # [B] millionths of a dollar
    first: I8 = array()  # [B] mid at the beginning
    order: I8 = array("n_agents")  # [B, A] shares sold in the tick
    target: I8 = array("n_agents")  # [B, A] shares at the beginning
    pace: F8 = array()  # [B] of all, in even splits
    risk: F8 = array("n_agents")  # [B, A] $
    forced: I8 = array("n_agents")  # [B, A] shares


@rule
def begin(p, s, b):
    clear(s, b)
    s.mid[b] = s.first[b] = whole(p.price * MICRO)
    s.pace[b] = 0.0
    for a in range(p.n_agents):
        own = p.shares // p.n_agents + (1 if a < p.shares % p.n_agents else 0) if p.owners == 0 else p.shares if a == 0 else 0
        endow(s, b, a, p.n_agents, 0, 0, own)
        s.target[b, a] = own
        s.order[b, a] = s.forced[b, a] = 0
        s.risk[b, a] = 0.0


@rule
def orders(p, s, b, action):
    """Set what each sells; what is left goes in the last tick. Returns the sum."""
    total = 0
    for a in range(p.n_agents):
        left, wanted = s.shares[b, a, 0], whole(action[b, a, 0] * p.even)
        if p.reverse == 0.0:
            wanted = min(max(wanted, 0), left)
        if s.t[b] + 1 >= p.horizon:
            s.forced[b, a] = abs(left - wanted)
            wanted = left
        s.order[b, a] = wanted
        total += wanted
    return total


@rule
def step(p, s, b, action, components, cost):
    total = orders(p, s, b, action)
    price = s.mid[b] - p.slope * total
    for a in range(p.n_agents):
        n = s.order[b, a]
        paid = whole(price - (p.fixed * MICRO if n > 0 else -p.fixed * MICRO))
        deal(s, b, p.n_agents, a, 0, n, paid)
        left = float(s.shares[b, a, 0])
        risk = p.aversion * p.sigma * p.sigma * p.tau * left * left
        s.risk[b, a] += risk
        components[b, a, 0] = -float(n) * (s.first[b] - paid) / MICRO / p.scale
        components[b, a, 1] = -risk / p.scale
    s.pace[b] = total / (p.even * p.n_agents)
    s.mid[b] += whole(p.step_sd * normal(s, b, MOVES, 0) - MICRO * p.permanent * total)
    return TERMINATED if s.t[b] + 1 >= p.horizon else RUNNING


@rule
def observe(p, s, b, obs):
    unit = float(max(1, s.target[b, 0]))
    for a in range(p.n_agents):
        obs[b, a, obs_.time_left] = 1.0 - s.t[b] / p.horizon
        obs[b, a, obs_.left] = s.shares[b, a, 0] / unit
        obs[b, a, obs_.target] = s.target[b, a] / unit
        if p.sight == CLOSED:
            obs[b, a, obs_.price] = (s.mid[b] - s.first[b]) / MICRO * p.shares / p.scale
            obs[b, a, obs_.pace] = s.pace[b]


@rule
def measure(p, s, b, metrics):
    total = 0.0
    for a in range(p.n_agents):
        lost = (float(s.target[b, a]) * s.first[b] - s.cash[b, a]) / MICRO
        total += lost
        metrics[b, a, metric_.shortfall] = lost
        metrics[b, a, metric_.cost] = lost / p.scale
        metrics[b, a, metric_.risk] = s.risk[b, a]
        metrics[b, a, metric_.forced] = min(1.0, s.forced[b, a] / max(1.0, float(s.target[b, 0])))
    for a in range(p.n_agents):
        metrics[b, a, metric_.total_cost] = total / p.scale
        metrics[b, a, metric_.shortfall_bps] = total / (float(p.shares) * s.first[b] / MICRO) * 1e4


@rule
def balance(p, s, b, residual):
    residual[b, 0] = missing_cash(s, b)
    residual[b, 1] = missing_shares(s, b)


def roles(p: LiquidationParams) -> tuple[Role, ...]:
    """Traders who sell, or sell and buy back."""
    pace = {"pace": Column(-p.reverse, p.fastest, "sale, in even splits")}
    return (Role("executor", p.n_agents, OBSERVATION | (CLOSED_SIGHT if p.sight == "closed" else {}), pace),)


def _scheduled(p: LiquidationParams, obs: F4, rows: F8) -> F8:
    """Actions [N, 1] of schedules in shares a tick [2, K]: row 0 for who begins with shares, row 1 for who does not."""
    tick = np.clip(np.rint((1 - obs[:, obs_.time_left]) * p.horizon).astype(np.int64), 0, p.horizon - 1)
    return np.asarray(rows[(obs[:, obs_.target] <= 0).astype(np.int64), tick] / p.even)[:, None]


def twap(p: LiquidationParams, obs: F4, generator: np.random.Generator) -> F8:
    """Sells evenly: least mean cost of a lone seller, and what sellers would do together."""
    return np.where(obs[:, obs_.target : obs_.target + 1] > 0, 1.0, 0.0)


def all_at_once(p: LiquidationParams, obs: F4, generator: np.random.Generator) -> F8:
    """Sells everything in the first tick, or as fast as it may."""
    return np.minimum(obs[:, obs_.left : obs_.left + 1].astype(np.float64) * p.horizon, p.fastest)


def idle(p: LiquidationParams, obs: F4, generator: np.random.Generator) -> F8:
    """Sells nothing, until the last tick takes what is left."""
    return np.zeros((len(obs), 1))


def almgren_chriss(p: LiquidationParams, obs: F4, generator: np.random.Generator) -> F8:
    """The efficient schedule of a lone seller of all shares, in proportion for each of several (Almgren and Chriss 2000)."""
    sold = -np.diff(theory.efficient_holdings(p.law)) / (p.n_agents if p.owners == "equal" else 1)
    return _scheduled(p, obs, np.stack([sold, np.zeros(p.horizon)]))


def nash(p: LiquidationParams, obs: F4, generator: np.random.Generator) -> F8:
    """The Nash schedule in open loop without aversion (Carlin, Lobo and Viswanathan 2007), exact for ticks of this length."""
    if p.aversion > 0:
        raise UserError(f"LiquidationParams.aversion = {p.aversion}: the baseline nash is of traders without, legal is 0")
    return _scheduled(p, obs, equilibrium(p)[[0, -1]] * p.shares * p.tau)


@lru_cache(maxsize=32)
def equilibrium(p: LiquidationParams) -> F8:
    """Nash rates [A, K] of shares of the sum a unit of time. Symmetric predators are solved as they are."""
    net = p.temporary + (p.within - 0.5) * p.permanent * p.tau
    if p.owners == "equal":  # each of n alike: one row, of the game reduced to it, is all
        return np.repeat(_alike(p.n_agents, p.permanent, net, p.span, p.horizon)[None], p.n_agents, axis=0)
    return theory.discrete_nash(p.sold, p.permanent, net, p.span, p.horizon)


def _alike(n: int, permanent: float, temporary: float, span: float, steps: int) -> F8:
    """`theory.discrete_nash` of n who sell 1/n each, by symmetry in K unknowns."""
    dt = span / steps
    own = permanent * dt * (np.tril(np.ones((steps, steps)), -1) + np.eye(steps) / 2) + temporary * np.eye(steps)
    system, right = np.zeros((steps + 1, steps + 1)), np.zeros(steps + 1)
    system[:steps, :steps] = n * own + own.T
    system[:steps, steps], system[steps, :steps], right[steps] = -1.0, dt, 1 / n
    return np.asarray(np.linalg.solve(system, right)[:steps])


def known(p: LiquidationParams) -> dict[str, float]:
    """Costs of a lone seller at the optimum of E + lambda V, or of traders at Nash and together; in even sales' mean costs.

    Where the first alone has something to sell, its cost and that of the last of its predators, who are alike, go by number.
    """
    if p.n_agents == 1:
        mean, variance = theory.shortfall(theory.efficient_holdings(p.law), p.law)
        risk = p.aversion * variance
        utility = (mean + risk) / p.scale
        return {"cost": mean / p.scale, "risk": risk, "utility": utility, "return": -utility}
    if p.aversion > 0 or p.fixed > 0:
        return {}
    net = p.temporary + (p.within - 0.5) * p.permanent * p.tau
    unit = p.shares**2 / p.scale
    costs = theory.liquidation_costs(equilibrium(p), p.permanent, net, p.span) * unit
    together = theory.cooperative_cost(p.sold, p.permanent, net, p.span) * unit
    alike = bool(np.allclose(costs, costs[0], rtol=1e-9, atol=1e-12))
    each = {"cost": float(costs[0])} if alike else {"cost_0": float(costs[0]), f"cost_{len(costs) - 1}": float(costs[-1])}
    return {**each, "total_cost": float(costs.sum()), "cooperative_cost": together}


def together(p: LiquidationParams) -> dict[str, float]:
    """Cost of all sellers who share it, without aversion and spread: as one would sell; of a lone one what is known."""
    if p.n_agents == 1:
        return known(p)
    found = known(p)
    return {"total_cost": found["cooperative_cost"]} if found else {}


def action_grid(p: LiquidationParams) -> Mapping[str, npt.NDArray[Any]]:
    """9 paces from the fastest purchase to the fastest sale, [9, 1]."""
    return {"executor": np.linspace(-p.reverse, p.fastest, 9)[:, None]}


RACE: dict[str, Any] = {
    "horizon": 20, "span": 1.0, "sigma": 0.05, "fixed": 0.0, "permanent": 1e-6, "temporary": 5e-7, "within": 0.5, "aversion": 0.0,
    "fastest": 4.0, "reverse": 2.0,
}  # fmt: skip

LIQUIDATION = Game(
    "liquidation",
    version=0,
    params=LiquidationParams,
    state=LiquidationState,
    roles=roles,
    begin=begin,
    step=step,
    observe=observe,
    measure=measure,
    metrics=METRICS,
    reward=REWARD,
    balance=balance,
    audit=("cash", "shares"),
    baselines={"twap": twap, "all_at_once": all_at_once, "almgren_chriss": almgren_chriss, "nash": nash, "idle": idle},
    naive="all_at_once",
    reference=lambda p: "nash" if p.n_agents > 1 and p.aversion == 0 else "almgren_chriss",
    known=known,
    together=together,
    action_grid=action_grid,
    picture=Picture("envs.trading.page:liquidation", ("mid", "shares")),
    presets={
        "almgren_chriss": {},
        "one_seller": {**RACE, "n_agents": 1},
        "two_sellers": {**RACE, "n_agents": 2},
        "ten_sellers": {**RACE, "n_agents": 10},
        "predator": {**RACE, "n_agents": 2, "owners": "first"},
        "four_predators": {**RACE, "n_agents": 5, "owners": "first"},
    },
    citation="Almgren and Chriss 2000, Optimal execution of portfolio transactions; Carlin, Lobo and Viswanathan 2007",
)
