# mypy: allow-untyped-defs, allow-incomplete-defs
"""Quoting: a maker posts a bid and an ask around a mid that wanders, and is filled the less likely the farther they are.

Avellaneda and Stoikov 2008: in a tick of length dt at most one share a side, with chance A dt exp(-k depth), then the mid moves by
+-sigma sqrt(dt). A maker is paid what its wealth gains, less phi q^2 dt and alpha q_T^2 (Cartea, Jaimungal and Penalva 2015, 10.2); with
phi = gamma sigma^2/2 this is the mean-variance form of the aversion gamma. Each of several makers meets orders of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import exp, log, sqrt
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from envs.trading import theory
from envs.trading.ledger import MICRO, clear, deal, missing_cash, missing_shares, whole
from marl.compiled import rule
from marl.errors import UserError
from marl.game import F4, F8, I8, RUNNING, TERMINATED, Column, Component, Game, Picture, Role, array, index, inf
from marl.params import Params, derived, param
from marl.rng import draw, stream, uniform

MOVES, FILLS = range(2)
INVENTORY = 10.0
"""Shares that the column `inventory` counts as one."""


@dataclass(frozen=True)
class QuotingParams(Params):
    TABLES: ClassVar[tuple[str, ...]] = ()

    n_agents: int = param(1, 1, 128, "makers")
    horizon: int = param(200, 1, 1_000_000, "ticks")
    span: float = param(1.0, 1e-6, 1e6, "units of time", "of an episode")
    price: float = param(100.0, 1.0, 1e4, "$", "mid at the beginning")
    sigma: float = param(2.0, 0.0, 1e3, "$ a square root of time", "volatility of the mid")
    rate: float = param(140.0, 1e-6, 1e6, "orders a unit of time and side", "A: that meet a quote at the mid")
    decay: float = param(1.5, 1e-3, 1e5, "1/$", "k: fills fall with exp(-k depth)")
    running: float = param(0.2, 0.0, 1e3, "$ a share squared and unit of time", "phi; gamma = 2 phi/sigma^2")
    terminal: float = param(0.0, 0.0, 1e3, "$ a share squared", "alpha: of the inventory at the end")
    limit: int = param(1_000, 1, 1_000_000, "shares", "inventory, of either sign, at which a side is not quoted")
    deepest: float = param(3.0, 1e-3, 1e3, "half-spreads", "farthest quote from the mid; that of the inventory strategy at the beginning")
    beyond: float = param(0.5, 0.0, 1e3, "half-spreads", "by which a quote may lie on the other side of the mid, where all meet it")

    def validate(self) -> None:
        if self.running > 0 and self.sigma == 0:
            raise UserError(f"QuotingParams.running = {self.running} with sigma = 0: legal is 0, nothing is risked")

    @derived
    def traders(self) -> int:
        """Agents and the world."""
        return self.n_agents + 1

    @derived
    def assets(self) -> int:
        return 1

    @derived
    def dt(self) -> float:
        return self.span / self.horizon

    @derived
    def aversion(self) -> float:
        """gamma, whose mean-variance form `running` is."""
        return 2 * self.running / self.sigma**2 if self.running > 0 else 0.0

    @derived
    def half_spread(self) -> float:
        """$ of the inventory strategy's quotes at the beginning, with nothing held, from the mid."""
        return neutral_half(self) + self.aversion * self.sigma**2 * self.span / 2

    @derived
    def step_size(self) -> int:
        """Millionths of a dollar by which the mid moves in a tick."""
        return round(MICRO * self.sigma * sqrt(self.dt))

    @property
    def law(self) -> theory.MakerLaw:
        """The problem of Cartea and Jaimungal; a limit beyond 40 shares is of no effect."""
        return theory.MakerLaw(self.rate, self.decay, self.running, self.terminal, min(self.limit, 40))


OBSERVATION = {
    "time_left": Column(0, 1, "share of the horizon"),
    "inventory": Column(-inf, inf, f"{INVENTORY:g} shares"),
    "moved": Column(-inf, inf, "mid less that of the beginning, over sigma sqrt(span)"),
}
REWARD = {"gain": Component(1.0, "$"), "running": Component(1.0, "$, negative"), "terminal": Component(1.0, "$, negative")}
COST = {"inventory": Column(0, inf, "shares of either sign")}
METRICS = {
    "profit": Column(-inf, inf, "$"),
    "utility": Column(-inf, inf, "$, the profit less the penalties"),
    "inventory": Column(-inf, inf, "shares at the end"),
    "mean_inventory": Column(0, inf, "shares of either sign, mean over ticks"),
    "spread": Column(-inf, inf, "$, mean over ticks of ask less bid"),
    "fills": Column(0, inf, "shares traded"),
    "edge": Column(-inf, inf, "$, sum over trades of the distance to the mid: the profit less this is the inventory's"),
}
obs_, metric_ = index(OBSERVATION), index(METRICS)


class QuotingState(NamedTuple):
    cash: I8 = array("traders")  # [B, A + 1] millionths of a dollar
    shares: I8 = array("traders", "assets")  # [B, A + 1, 1]
    fees: I8 = array()  # [B]
    mid: I8 = array()  # [B] millionths of a dollar
    first: I8 = array()  # [B]
    edge: I8 = array("n_agents")  # [B, A] millionths of a dollar
    fills: I8 = array("n_agents")  # [B, A]
    penalty: F8 = array("n_agents")  # [B, A] $
    spreads: F8 = array("n_agents")  # [B, A] $
    held: F8 = array("n_agents")  # [B, A] shares of either sign, over ticks


@rule
def begin(p, s, b):
    clear(s, b)
    s.mid[b] = s.first[b] = whole(p.price * MICRO)
    for a in range(p.n_agents):
        s.edge[b, a] = s.fills[b, a] = 0
        s.penalty[b, a] = s.spreads[b, a] = s.held[b, a] = 0.0


@rule
def meet(p, s, b, a, side, depth, luck):
    """An order of the world may take maker a's quote: side 1 its bid, -1 its ask."""
    chance = p.rate * p.dt * exp(-p.decay * depth)
    if luck < chance and side * s.shares[b, a, 0] < p.limit:
        price = s.mid[b] - side * whole(depth * MICRO)
        deal(s, b, a, p.n_agents, 0, side, price)
        s.edge[b, a] += side * (s.mid[b] - price)
        s.fills[b, a] += 1


@rule
def step(p, s, b, action, components, cost):
    draws, before = stream(s, b, FILLS), s.mid[b]
    move = p.step_size if uniform(s, b, MOVES, 0) < 0.5 else -p.step_size
    over = s.t[b] + 1 >= p.horizon
    for a in range(p.n_agents):
        edge = s.edge[b, a]
        meet(p, s, b, a, 1, action[b, a, 0], draw(draws, 2 * a))
        meet(p, s, b, a, -1, action[b, a, 1], draw(draws, 2 * a + 1))
        q = float(s.shares[b, a, 0])
        components[b, a, 0] = (s.edge[b, a] - edge + q * move) / MICRO
        components[b, a, 1] = -p.running * q * q * p.dt
        components[b, a, 2] = -p.terminal * q * q if over else 0.0
        cost[b, a, 0] = abs(q)
        s.penalty[b, a] += components[b, a, 1] + components[b, a, 2]
        s.spreads[b, a] += action[b, a, 0] + action[b, a, 1]
        s.held[b, a] += abs(q)
    s.mid[b] = before + move
    return TERMINATED if over else RUNNING


@rule
def observe(p, s, b, obs):
    unit = max(1.0, MICRO * p.sigma * sqrt(p.span))
    for a in range(p.n_agents):
        obs[b, a, obs_.time_left] = 1.0 - s.t[b] / p.horizon
        obs[b, a, obs_.inventory] = s.shares[b, a, 0] / INVENTORY
        obs[b, a, obs_.moved] = (s.mid[b] - s.first[b]) / unit


@rule
def measure(p, s, b, metrics):
    for a in range(p.n_agents):
        profit = (s.cash[b, a] + s.shares[b, a, 0] * s.mid[b]) / MICRO
        metrics[b, a, metric_.profit] = profit
        metrics[b, a, metric_.utility] = profit + s.penalty[b, a]
        metrics[b, a, metric_.inventory] = s.shares[b, a, 0]
        metrics[b, a, metric_.mean_inventory] = s.held[b, a] / p.horizon
        metrics[b, a, metric_.spread] = s.spreads[b, a] / p.horizon
        metrics[b, a, metric_.fills] = s.fills[b, a]
        metrics[b, a, metric_.edge] = s.edge[b, a] / MICRO


@rule
def balance(p, s, b, residual):
    residual[b, 0] = missing_cash(s, b)
    residual[b, 1] = missing_shares(s, b)


def _quotes(p: QuotingParams, bid: F8, ask: F8) -> F8:
    return np.clip(np.stack([bid, ask], axis=1), -p.beyond * p.half_spread, p.deepest * p.half_spread)


def _held(obs: F4) -> F8:
    return np.rint(obs[:, obs_.inventory].astype(np.float64) * INVENTORY)


def inventory(p: QuotingParams, obs: F4, generator: np.random.Generator) -> F8:
    """Avellaneda and Stoikov's quotes around the reservation price at gamma = 2 phi/sigma^2."""
    if p.aversion == 0:
        raise UserError("QuotingParams.running = 0: the baseline inventory needs an aversion above 0, neutral has none")
    left = obs[:, obs_.time_left].astype(np.float64) * p.span
    return _quotes(p, *theory.inventory_depths(_held(obs), p.aversion, p.sigma, p.decay, left))


def symmetric(p: QuotingParams, obs: F4, generator: np.random.Generator) -> F8:
    """The spread of the inventory strategy, centred on the mid whatever is held."""
    half = neutral_half(p) + p.aversion * p.sigma**2 * p.span * obs[:, obs_.time_left].astype(np.float64) / 2
    return _quotes(p, half, half)


def neutral_half(p: QuotingParams) -> float:
    """Half of the spread that does not come of the risk to the end: (1/gamma) ln(1 + gamma/k), 1/k without aversion."""
    return log(1 + p.aversion / p.decay) / p.aversion if p.aversion > 0 else 1 / p.decay


def neutral(p: QuotingParams, obs: F4, generator: np.random.Generator) -> F8:
    """Depth 1/k on both sides, the best without penalties."""
    return _quotes(p, *np.full((2, len(obs)), 1 / p.decay))


def idle(p: QuotingParams, obs: F4, generator: np.random.Generator) -> F8:
    """The farthest quotes, which are met the least."""
    return _quotes(p, *np.full((2, len(obs)), np.inf))


@lru_cache(maxsize=4_096)
def _optimal(law: theory.MakerLaw, left: float) -> F8:
    """Depths of the bid and the ask [2 Q + 1, 2] with so much time left."""
    return np.stack(theory.maker_depths(theory.maker_values(law, left), law.decay), axis=1)


def cartea_jaimungal(p: QuotingParams, obs: F4, generator: np.random.Generator) -> F8:
    """The optimal depths in continuous time; the rate per side in the limit of small ticks."""
    law = p.law
    q = np.clip(_held(obs).astype(np.int64), -law.limit, law.limit) + law.limit
    lefts, place = np.unique(obs[:, obs_.time_left], return_inverse=True)
    chosen = np.stack([_optimal(law, float(left) * p.span) for left in lefts])[place.ravel(), q]
    return _quotes(p, chosen[:, 0], chosen[:, 1])


def known(p: QuotingParams) -> dict[str, float]:
    """Mean spread of the inventory strategy, the neutral depth, the optimum's mean reward in the limit of small ticks."""
    law = p.law
    value = float(theory.maker_values(law, p.span)[law.limit])
    found = {"neutral_depth": 1 / p.decay, "optimal_utility": value, "utility": value}
    return found | (
        {"inventory_spread": 2 * neutral_half(p) + p.aversion * p.sigma**2 * p.span * (1 + 1 / p.horizon) / 2} if p.aversion else {}
    )


def action_grid(p: QuotingParams) -> Mapping[str, npt.NDArray[Any]]:
    """9 pairs of depths: each of 0, 1/k and 2/k for the bid and for the ask, [9, 2]."""
    steps = np.minimum(np.array([0.0, 1 / p.decay, 2 / p.decay]), p.deepest * p.half_spread)
    return {"market_maker": np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(9, 2)}


def roles(p: QuotingParams) -> tuple[Role, ...]:
    """Makers."""
    ends = -p.beyond * p.half_spread, p.deepest * p.half_spread
    side = Column(*ends, "$ from the mid, below 0 on its other side", explore=0.22, explore_last=0.02)
    return (Role("market_maker", p.n_agents, OBSERVATION, {"bid_depth": side, "ask_depth": side}),)


QUOTING = Game(
    "quoting",
    version=1,
    params=QuotingParams,
    state=QuotingState,
    roles=roles,
    begin=begin,
    step=step,
    observe=observe,
    measure=measure,
    metrics=METRICS,
    reward=REWARD,
    cost=COST,
    balance=balance,
    audit=("cash", "shares"),
    baselines={"cartea_jaimungal": cartea_jaimungal, "inventory": inventory, "symmetric": symmetric, "neutral": neutral, "idle": idle},
    reference=lambda p: "cartea_jaimungal" if p.running > 0 or p.terminal > 0 else "neutral",
    known=known,
    action_grid=action_grid,
    picture=Picture("envs.trading.page:quoting", ("mid", "shares")),
    presets={
        "avellaneda_stoikov": {},
        "nearly_neutral": {"running": 0.02},
        "averse": {"running": 1.0},
        "cartea_jaimungal": {
            "horizon": 1_000, "rate": 20.0, "sigma": 0.5, "running": 0.05, "terminal": 0.02, "limit": 8,
        },
    },
    citation="Avellaneda and Stoikov 2008, High-frequency trading in a limit order book",
)  # fmt: skip
