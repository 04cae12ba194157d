"""Bazaar: sellers post a price and a quality, buyers choose a seller and an amount. A toy with everything on the contract:
two roles of different widths, mixed and several discrete columns, masks, buyers that leave early, an audit, its own
global state, a cut of a continuing game."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from marl.compiled import rule
from marl.game import B1, F8, I8, RUNNING, TRUNCATED, Column, Component, Discrete, Game, Role, array, index, inf
from marl.params import Params, derived, param
from marl.rng import uniform


@dataclass(frozen=True)
class BazaarParams(Params):
    n_sellers: int = param(2, 1, 16, "agents")
    n_buyers: int = param(3, 1, 16, "agents")
    horizon: int = param(40, 1, 100_000, "ticks")
    purse: int = param(120, 0, 10_000, "cents", "a buyer's cash at the beginning")
    best_cost: int = param(3, 0, 100, "cents", "what a seller of the best quality pays the guild in a tick")
    income: int = param(2, 0, 100, "cents", "a buyer's, in every tick")

    @derived
    def agents(self) -> int:
        return self.n_sellers + self.n_buyers


SELLER_SEES = {"cash": Column(0, inf, "cents"), "sold": Column(0, inf, "units"), "buyers_left": Column(0, 1, "share of buyers")}
BUYER_SEES = {"cash": Column(0, inf, "cents"), "taste": Column(0, 10, "cents")}
SELLER_DOES = {"price": Column(1, 20, "cents"), "quality": Discrete(3, ("plain", "good", "best"))}
METRICS = {"earned": Column(-inf, inf, "cents")}
REWARD = {"trade": Component(1.0, "cents"), "guild": Component(-1.0, "cents")}
STATE = {"guild": Column(0, inf, "cents"), "dearest": Column(0, 20, "cents")}
seller_, buyer_, state_ = index(SELLER_SEES), index(BUYER_SEES), index(STATE)
TASTE, JITTER = 0, 1
MOST = 20


class BazaarState(NamedTuple):
    cash: I8 = array("agents")  # [B, A] cents
    sold: I8 = array("agents")  # [B, A] units, last tick
    earned: F8 = array("agents")  # [B, A] cents, this episode
    gone: B1 = array("agents")  # [B, A] buyers that left
    taste: F8 = array("n_buyers")  # [B, n_buyers] cents for a unit
    guild: I8 = array()  # [B] cents
    paid_in: I8 = array()  # [B] cents, all cash that ever came from outside
    dearest: F8 = array()  # [B] cents, highest price of the last tick


@rule
def begin(p, s, b):
    s.guild[b], s.dearest[b], s.paid_in[b] = 0, 0.0, p.n_buyers * p.purse
    for a in range(p.agents):
        s.cash[b, a] = 0 if a < p.n_sellers else p.purse
        s.sold[b, a], s.earned[b, a], s.gone[b, a] = 0, 0.0, False
    for i in range(p.n_buyers):
        s.taste[b, i] = 10.0 * uniform(s, b, TASTE, i)


@rule
def step(p, s, b, action, components, cost):
    s.dearest[b] = 0.0
    for a in range(p.n_sellers):
        s.sold[b, a] = 0
        s.dearest[b] = max(s.dearest[b], float(int(action[b, a, 0])))
        fee = p.best_cost if action[b, a, 1] == 2.0 else 0
        fee = min(fee, s.cash[b, a])
        s.cash[b, a] -= fee
        s.guild[b] += fee
        components[b, a, 1] = fee
    for i in range(p.n_buyers):
        buy(p, s, b, i, action, components)
    for a in range(p.agents):
        s.earned[b, a] += components[b, a, 0] - components[b, a, 1]
        cost[b, a, 0] = components[b, a, 1]
    return TRUNCATED if s.t[b] + 1 >= p.horizon else RUNNING


@rule
def buy(p, s, b, i, action, components):
    a = p.n_sellers + i
    if s.gone[b, a]:
        return
    seller, amount = int(action[b, a, 0]) - 1, int(action[b, a, 1])
    if seller >= 0:
        price = int(action[b, seller, 0])
        pay = price * amount
        if pay <= s.cash[b, a]:
            s.cash[b, a] -= pay
            s.cash[b, seller] += pay
            s.sold[b, seller] += amount
            worth = s.taste[b, i] * (1.0 + 0.5 * action[b, seller, 1]) * (0.9 + 0.2 * uniform(s, b, JITTER, i))
            components[b, a, 0] = worth * amount - pay
            components[b, seller, 0] += pay
    s.cash[b, a] += p.income
    s.paid_in[b] += p.income
    s.gone[b, a] = s.cash[b, a] < MOST


@rule
def observe(p, s, b, obs):
    left = 0
    for i in range(p.n_buyers):
        a = p.n_sellers + i
        obs[b, a, buyer_.cash] = s.cash[b, a]
        obs[b, a, buyer_.taste] = s.taste[b, i]
        left += 0 if s.gone[b, a] else 1
    for a in range(p.n_sellers):
        obs[b, a, seller_.cash] = s.cash[b, a]
        obs[b, a, seller_.sold] = s.sold[b, a]
        obs[b, a, seller_.buyers_left] = left / p.n_buyers


@rule
def measure(p, s, b, metrics):
    for a in range(p.agents):
        metrics[b, a, 0] = s.earned[b, a]


@rule
def mask(p, s, b, legal):
    for a in range(p.n_sellers):
        legal[b, a, 2] = s.cash[b, a] >= p.best_cost
    for i in range(p.n_buyers):
        a = p.n_sellers + i
        for amount in range(3):
            legal[b, a, p.n_sellers + 1 + amount] = s.cash[b, a] >= amount * MOST


@rule
def living(p, s, b, alive):
    for a in range(p.n_sellers, p.agents):
        alive[b, a] = not s.gone[b, a]


@rule
def overview(p, s, b, state):
    state[b, state_.guild] = s.guild[b]
    state[b, state_.dearest] = s.dearest[b]


@rule
def balance(p, s, b, residual):
    total = s.guild[b] - s.paid_in[b]
    for a in range(p.agents):
        total += s.cash[b, a]
    residual[b, 0] = total


def roles(p: BazaarParams) -> tuple[Role, ...]:
    buyer_does = {"seller": Discrete(p.n_sellers + 1), "amount": Discrete(3)}
    return Role("seller", p.n_sellers, SELLER_SEES, SELLER_DOES), Role("buyer", p.n_buyers, BUYER_SEES, buyer_does)


BAZAAR = Game(
    name="bazaar",
    version=0,
    params=BazaarParams,
    state=BazaarState,
    roles=roles,
    begin=begin,
    step=step,
    observe=observe,
    measure=measure,
    metrics=METRICS,
    reward=REWARD,
    cost={"fees": Column(0, inf, "cents")},
    mask=mask,
    living=living,
    overview=overview,
    state_table=STATE,
    balance=balance,
    audit=("cash",),
)
