# mypy: allow-untyped-defs, allow-incomplete-defs
"""Kyle: informed traders hide in the noise, and a maker sets one price for all by what the flow tells.

A round has one value v ~ N(0, s0^2) around the price's beginning and some auctions (Kyle 1985); in each the informed, who know v, and noise
of variance su^2 a round order at once, and all trade at p + lambda y with y the sum of orders: a uniform price. The maker's lambda is that
of the equilibrium, or an agent's, who is paid -(v - p)^2: its best answer is the regression of the value on the flow, which is what
competition among makers forces on it. At the end of a round everybody is paid v.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from envs.trading import theory
from envs.trading.batch import linear_price
from envs.trading.ledger import MICRO, clear, deal, missing_cash, missing_shares, whole
from marl.compiled import rule
from marl.errors import UserError
from marl.game import F4, F8, I8, RUNNING, TERMINATED, Column, Component, Game, Role, array, index, inf
from marl.params import Params, choice, derived, param
from marl.rng import gaussian, normal, stream_at

VALUES, NOISE = range(2)
LEARNED = 1


@dataclass(frozen=True)
class KyleParams(Params):
    TABLES: ClassVar[tuple[str, ...]] = ("equilibrium_impact", "equilibrium_intensity")

    n_agents: int = param(1, 1, 128, "informed traders", "with maker learned there is one agent more, of a role of its own")
    auctions: int = param(1, 1, 1_000, "auctions a round", "several: of one informed")
    rounds: int = param(50, 1, 100_000, "rounds an episode", "each with a value of its own")
    value_sd: float = param(2.0, 1e-3, 1e3, "$", "s0")
    noise_sd: float = param(3.0, 1e-3, 1e3, "lots a round", "su, a lot is a million shares")
    maker: str = choice("equilibrium", ("equilibrium", "learned"), "whose lambda it is")
    reach: float = param(4.0, 0.1, 100.0, "standard deviations of the auction's noise", "largest order of an informed")
    steepest: float = param(3.0, 0.1, 100.0, "s0/su", "largest lambda of a learned maker")

    def validate(self) -> None:
        if self.auctions > 1 and self.n_agents > 1:
            raise UserError(f"KyleParams.auctions = {self.auctions} with n_agents = {self.n_agents}: legal is 1, or one informed")

    @derived
    def traders(self) -> int:
        """The informed, the maker, and the world, which is the noise."""
        return self.n_agents + 2

    @derived
    def assets(self) -> int:
        return 1

    @derived
    def agents(self) -> int:
        return self.n_agents + (self.maker == "learned")

    @derived
    def horizon(self) -> int:
        return self.rounds * self.auctions

    @derived
    def auction_noise(self) -> float:
        """Lots of an auction's noise, standard deviation."""
        return self.noise_sd / sqrt(self.auctions)

    @property
    def answer(self) -> tuple[F8, F8, float]:
        """(lambda [N] $ a lot, beta [N] lots a $, profit of each $ x lots a round) in equilibrium."""
        if self.auctions == 1:
            one = theory.kyle(self.n_agents, self.value_sd, self.noise_sd)
            return np.array([one.impact]), np.array([one.intensity]), one.profit
        found = periods(self.auctions, self.value_sd, self.noise_sd)
        return found.impact, found.intensity, found.profit

    def tables(self) -> Mapping[str, Any]:
        """Equilibrium lambda [N] in $ a lot and beta [N] in lots a $."""
        impact, intensity, _ = self.answer
        return {"equilibrium_impact": impact, "equilibrium_intensity": intensity}


@lru_cache(maxsize=32)
def periods(auctions: int, value_sd: float, noise_sd: float) -> theory.KylePeriods:
    """The equilibrium of several auctions, found once."""
    return theory.kyle_periods(auctions, value_sd**2, noise_sd**2)


TIME = {"time_left": Column(0, 1, "share of the round's auctions")}
INFORMED = TIME | {"signal": Column(-inf, inf, "value less price, over s0"), "one_of": Column(0, 1, "1 over the number of informed")}
REWARD = {
    "profit": Component(1.0, "what the auction's trade will be worth, over s0 su"),
    "error": Component(1.0, "of the maker: squared distance of price and value over s0^2, negative"),
}
METRICS = {
    "profit": Column(-inf, inf, "$ x lots a round, the trader's"),
    "intensity": Column(-inf, inf, "lots a $: slope of the trader's first orders on value less price"),
    "impact": Column(-inf, inf, "$ a lot: slope of value less price on the flow of first auctions"),
    "chosen_impact": Column(0, inf, "$ a lot: mean lambda of first auctions"),
    "left": Column(0, inf, "mean squared distance of the last price from the value over s0^2"),
    "noise_loss": Column(-inf, inf, "$ x lots a round that the noise pays"),
    "maker_profit": Column(-inf, inf, "$ x lots a round"),
}
SUMS = ("order_gap", "gap_gap", "flow_gap", "flow_flow", "chosen", "left")
"""Sums over rounds: of the first auction, first trader's order x gap of value and price, gap^2, flow x gap, flow^2, lambda; last gap^2."""
metric_, sum_ = index(METRICS), index(dict.fromkeys(SUMS))


class KyleState(NamedTuple):
    cash: I8 = array("traders")  # [B, A + 2] millionths of a dollar; the informed, the maker, the noise
    shares: I8 = array("traders", "assets")  # [B, A + 2, 1]
    fees: I8 = array()  # [B]
    value: I8 = array()  # [B] millionths of a dollar around the prior mean
    price: I8 = array()  # [B] the same
    order: I8 = array("n_agents")  # [B, A] shares
    sums: F8 = array(len(SUMS))  # [B, 6]
    own: F8 = array("n_agents")  # [B, A] sums of each trader's first order x gap


@rule
def begin(p, s, b):
    clear(s, b)
    for i in range(len(SUMS)):
        s.sums[b, i] = 0.0
    for a in range(p.n_agents):
        s.order[b, a] = 0
        s.own[b, a] = 0.0
    fresh(p, s, b, 0)


@rule
def fresh(p, s, b, at):
    """The value of the round that begins at tick `at`."""
    s.price[b] = 0
    s.value[b] = whole(p.value_sd * MICRO * gaussian(stream_at(s, b, at, VALUES), 0))


@rule
def record(p, s, b, auction, flow, slope):
    gap = (s.value[b] - s.price[b]) / MICRO
    if auction == 0:
        for a in range(p.n_agents):
            s.own[b, a] += s.order[b, a] / MICRO * gap
        s.sums[b, sum_.gap_gap] += gap * gap
        s.sums[b, sum_.flow_gap] += flow / MICRO * gap
        s.sums[b, sum_.flow_flow] += (flow / MICRO) * (flow / MICRO)
        s.sums[b, sum_.chosen] += slope


@rule
def step(p, s, b, action, components, cost):
    auction, maker, world = s.t[b] % p.auctions, p.n_agents, p.n_agents + 1
    noise = whole(p.auction_noise * MICRO * normal(s, b, NOISE, 0))
    flow = noise
    for a in range(p.n_agents):
        s.order[b, a] = whole(action[b, a, 0] * p.auction_noise * MICRO)
        flow += s.order[b, a]
    slope = action[b, maker, 0] * p.value_sd / p.noise_sd if p.maker == LEARNED else p.equilibrium_impact[auction]
    record(p, s, b, auction, flow, slope)
    price = linear_price(s.price[b], slope, flow)
    deal(s, b, world, maker, 0, noise, price)
    unit = MICRO * MICRO * p.value_sd * p.noise_sd
    for a in range(p.n_agents):
        deal(s, b, a, maker, 0, s.order[b, a], price)
        components[b, a, 0] = float(s.order[b, a]) * (s.value[b] - price) / unit
    s.price[b] = price
    gap = (s.value[b] - price) / (MICRO * p.value_sd)
    if p.maker == LEARNED:
        components[b, maker, 1] = -gap * gap
    if auction + 1 == p.auctions:
        s.sums[b, sum_.left] += gap * gap
        settle(p, s, b)
        fresh(p, s, b, s.t[b] + 1)
    return TERMINATED if s.t[b] + 1 >= p.horizon else RUNNING


@rule
def settle(p, s, b):
    """The value is paid for every share; the maker pays for the others'."""
    maker = p.n_agents
    for a in range(p.n_agents + 2):
        if a != maker:
            deal(s, b, maker, a, 0, s.shares[b, a, 0], s.value[b])


@rule
def observe(p, s, b, obs):
    left = 1.0 - (s.t[b] % p.auctions) / p.auctions
    for a in range(p.n_agents):
        obs[b, a, 0] = left
        obs[b, a, 1] = (s.value[b] - s.price[b]) / (MICRO * p.value_sd)
        obs[b, a, 2] = 1.0 / p.n_agents
    if p.maker == LEARNED:
        obs[b, p.n_agents, 0] = left


@rule
def measure(p, s, b, metrics):
    unit, rounds = MICRO * MICRO, float(p.rounds)
    for a in range(p.agents):
        metrics[b, a, metric_.profit] = s.cash[b, a] / unit / rounds
        metrics[b, a, metric_.intensity] = s.own[b, min(a, p.n_agents - 1)] / s.sums[b, sum_.gap_gap]
        metrics[b, a, metric_.impact] = s.sums[b, sum_.flow_gap] / s.sums[b, sum_.flow_flow]
        metrics[b, a, metric_.chosen_impact] = s.sums[b, sum_.chosen] / rounds
        metrics[b, a, metric_.left] = s.sums[b, sum_.left] / rounds
        metrics[b, a, metric_.noise_loss] = -s.cash[b, p.n_agents + 1] / unit / rounds
        metrics[b, a, metric_.maker_profit] = s.cash[b, p.n_agents] / unit / rounds


@rule
def balance(p, s, b, residual):
    residual[b, 0] = missing_cash(s, b)
    residual[b, 1] = missing_shares(s, b)


def roles(p: KyleParams) -> tuple[Role, ...]:
    """The informed, and the maker where it learns."""
    order = {"order": Column(-p.reach, p.reach, "standard deviations of the auction's noise")}
    informed = Role("informed", p.n_agents, INFORMED, order)
    if p.maker != "learned":
        return (informed,)
    return (informed, Role("market_maker", 1, TIME, {"impact": Column(0, p.steepest, "lambda, s0/su")}))


def _is_maker(obs: F4) -> bool:
    return obs.shape[1] == len(TIME)


def _auction(p: KyleParams, obs: F4) -> npt.NDArray[np.int64]:
    return np.rint((1 - obs[:, 0].astype(np.float64)) * p.auctions).astype(np.int64)


def equilibrium(p: KyleParams, obs: F4, generator: np.random.Generator) -> F8:
    """Orders beta (v - p) of the informed, lambda of the maker."""
    impact, intensity, _ = p.answer
    at = _auction(p, obs)
    if _is_maker(obs):
        return np.clip(impact[at] * p.noise_sd / p.value_sd, 0, p.steepest)[:, None]
    return np.clip(intensity[at] * obs[:, 1] * p.value_sd / p.auction_noise, -p.reach, p.reach)[:, None]


def silent(p: KyleParams, obs: F4, generator: np.random.Generator) -> F8:
    """Orders nothing; the maker does not move the price."""
    return np.zeros((len(obs), 1))


def known(p: KyleParams) -> dict[str, float]:
    """First lambda and beta, the informed's profit, the variance that is left as a share of the prior's."""
    impact, intensity, profit = p.answer
    known = {"impact": float(impact[0]), "intensity": float(intensity[0]), "profit": profit}
    left = 1 / (p.n_agents + 1) if p.auctions == 1 else periods(p.auctions, p.value_sd, p.noise_sd).left / p.value_sd**2
    return known | {"left": left}


def action_grid(p: KyleParams) -> Mapping[str, npt.NDArray[Any]]:
    """9 orders, and 9 lambdas."""
    grid = {"informed": np.linspace(-p.reach, p.reach, 9)[:, None]}
    return grid | ({"market_maker": np.linspace(0, p.steepest, 9)[:, None]} if p.maker == "learned" else {})


KYLE = Game(
    "kyle",
    version=0,
    params=KyleParams,
    state=KyleState,
    roles=roles,
    begin=begin,
    step=step,
    observe=observe,
    measure=measure,
    metrics=METRICS,
    reward=REWARD,
    balance=balance,
    audit=("cash", "shares"),
    baselines={"equilibrium": equilibrium, "silent": silent},
    naive="silent",
    reference=lambda p: "equilibrium",
    known=known,
    action_grid=action_grid,
    unscaled={"informed.order": "the best order is proportional to the private value, so that every constant is a bad one"},
    presets={
        "one_informed": {},
        "five_informed": {"n_agents": 5},
        "four_auctions": {"auctions": 4, "value_sd": 1.0, "noise_sd": 1.0},
        "learned_maker": {"maker": "learned"},
    },
    citation="Kyle 1985, Continuous auctions and insider trading",
)
