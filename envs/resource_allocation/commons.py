# mypy: allow-untyped-defs, allow-incomplete-defs
"""Commons: users harvest a stock that regrows logistically, each by its effort (Gordon 1954; Schaefer 1957).

In a tick user i harvests q e_i x of the stock x and earns price x harvest - cost x effort; then x' = x + r x (1 - x/K) - harvest.
Where efforts would take more than there is, all harvests shrink in proportion. In mode `steady` a tick is the long run: the
stock stands where the efforts of this tick leave it, K (1 - q E/r), so that one tick is the static game of the textbook.

Efforts are in units of an equal split of the open-access effort (r/q)(1 - c/(p q K)), which leaves no rent: 1 is the tragedy,
n/(n+1) Nash, 1/2 the optimum. Stock and harvests are in whole millionths of a unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from envs.resource_allocation import theory
from marl.compiled import rule
from marl.errors import UserError
from marl.game import F4, F8, I8, RUNNING, TERMINATED, Column, Component, Game, Picture, Role, array, index, inf
from marl.params import Params, choice, derived, param
from marl.rng import uniform

MODES = ("dynamic", "steady")
STEADY = 1
MICRO = 1_000_000
"""Whole parts of a unit of stock in which the rules count."""
MOST = 2.0
"""Highest effort, in equal splits of the open-access effort."""
GROWTH = 0


@dataclass(frozen=True)
class CommonsParams(Params):
    n_agents: int = param(4, 1, 1024, "users")
    horizon: int = param(100, 1, 100_000, "ticks")
    mode: str = choice("dynamic", MODES, "steady: each tick is the long run of its efforts, the game of the textbook")
    capacity: float = param(100.0, 1.0, 1e6, "units", "K: the stock without harvest")
    growth: float = param(0.4, 1e-3, 1.0, "1/tick", "r: beyond 1 the discrete stock overshoots")
    catchability: float = param(0.01, 1e-6, 1.0, "share of the stock a unit of effort and tick", "q")
    price: float = param(10.0, 1e-6, 1e6, "$ per unit")
    cost: float = param(2.0, 0.0, 1e6, "$ per unit of effort and tick")
    noise: float = param(0.0, 0.0, 1.0, "share of growth", "growth is drawn uniformly this far around its mean, in mode dynamic")
    opening: float = param(1.0, 0.0, 1.0, "share of capacity", "stock at the beginning")

    def validate(self) -> None:
        most = self.price * self.catchability * self.capacity
        if self.cost >= most:
            raise UserError(
                f"CommonsParams.cost = {self.cost} $: legal is below price x catchability x capacity = {most:g} $, or nobody harvests"
            )

    @property
    def fishery(self) -> dict[str, float]:
        """What `theory` asks for, by name."""
        return {name: getattr(self, name) for name in ("growth", "capacity", "catchability", "price", "cost")}

    @derived
    def unit(self) -> float:
        """Effort of action 1: an equal split of the open-access effort, which is twice the sole owner's."""
        return 2 * theory.optimal_effort(**self.fishery) / self.n_agents

    @derived
    def best_rent(self) -> float:
        """$ a tick, the sole owner's in the long run."""
        return theory.rent(theory.optimal_effort(**self.fishery), 0.0, **self.fishery)

    @derived
    def whole(self) -> int:
        """The capacity in millionths of a unit."""
        return round(self.capacity * MICRO)


OBSERVATION = {
    "time_left": Column(0, 1, "share of the horizon"),
    "stock": Column(0, 2, "share of capacity"),
    "last_effort": Column(0, MOST, "own, in equal splits of the open-access effort"),
    "mean_effort": Column(0, MOST, "of all in the last tick"),
}
ACTION = {"effort": Column(0, MOST, "in equal splits of the open-access effort")}
REWARD = {"sales": Component(1.0, "$"), "effort": Component(1.0, "$, minus its cost")}
COST = {"overuse": Column(0, inf, "effort beyond the share of the optimum's, in equal splits of the open-access effort")}
METRICS = {
    "rent": Column(-inf, inf, "$ a tick, the user's"),
    "total_rent": Column(-inf, inf, "$ a tick, all users'"),
    "rent_ratio": Column(-inf, inf, "total rent over the sole owner's in the long run"),
    "harvest": Column(0, inf, "units a tick, the user's"),
    "effort": Column(0, MOST, "mean of the user's, in equal splits of the open-access effort"),
    "stock": Column(0, 2, "mean share of capacity"),
    "collapse": Column(0, 1, "1 where the stock ends below a twentieth of the capacity"),
    "jain": Column(0, 1, "Jain's index of harvests"),
}
AUDIT = ("stock", "harvest", "overdraft")
obs_, metric_, reward_ = index(OBSERVATION), index(METRICS), index(REWARD)


class CommonsState(NamedTuple):
    stock: I8 = array()  # [B] millionths of a unit
    opened: I8 = array()  # [B] stock at the beginning of the tick
    grown: I8 = array()  # [B] growth of the tick
    harvest: I8 = array("agents")  # [B, A] of the tick
    taken: I8 = array()  # [B] harvest of the tick, all users'
    stocks: F8 = array()  # [B] sum over ticks of the share of capacity
    effort: F8 = array("agents")  # [B, A] of the last tick
    harvests: I8 = array("agents")  # [B, A] of the episode
    efforts: F8 = array("agents")  # [B, A] sum over ticks
    rents: F8 = array("agents")  # [B, A] $ of the episode


@rule
def begin(p, s, b):
    s.stock[b] = s.opened[b] = int(p.opening * p.whole)
    s.grown[b] = s.taken[b] = 0
    s.stocks[b] = 0.0
    for a in range(p.n_agents):
        s.harvest[b, a] = s.harvests[b, a] = 0
        s.effort[b, a] = s.efforts[b, a] = s.rents[b, a] = 0.0


@rule
def step(p, s, b, action, components, cost):
    caught = 0.0
    for a in range(p.n_agents):
        caught += p.catchability * p.unit * action[b, a, 0]
    if p.mode == STEADY:
        s.stock[b] = int(max(0.0, 1.0 - caught / p.growth) * p.whole + 0.5)
    before = s.stock[b]
    s.opened[b], s.taken[b] = before, 0
    shrink, upto = 1.0 / caught if caught > 1.0 else 1.0, 0.0
    for a in range(p.n_agents):
        effort = action[b, a, 0]
        upto += p.catchability * p.unit * effort * shrink * before
        s.harvest[b, a] = min(int(upto), before) - s.taken[b]  # whole parts of the sum, so that what is rounded away is not lost
        s.taken[b] += s.harvest[b, a]
        components[b, a, reward_.sales] = p.price * s.harvest[b, a] / MICRO
        components[b, a, reward_.effort] = -p.cost * p.unit * effort
        cost[b, a, 0] = max(0.0, effort - 0.5)
        s.effort[b, a] = effort
        s.efforts[b, a] += effort
        s.harvests[b, a] += s.harvest[b, a]
        s.rents[b, a] += components[b, a, reward_.sales] + components[b, a, reward_.effort]
    s.grown[b] = s.taken[b] if p.mode == STEADY else regrowth(p, s, b, before)
    s.stock[b] = before + s.grown[b] - s.taken[b]
    s.stocks[b] += s.stock[b] / p.whole
    return TERMINATED if s.t[b] + 1 >= p.horizon else RUNNING


@rule
def regrowth(p, s, b, before):
    """r x (1 - x/K) with its noise, millionths of a unit; at most what fills the commons, at least what the harvest does not exceed."""
    wobble = 1.0 + p.noise * (2.0 * uniform(s, b, GROWTH, 0) - 1.0)
    return min(int(p.growth * wobble * before * (1.0 - before / p.whole)), p.whole - before)


@rule
def observe(p, s, b, obs):
    mean = 0.0
    for a in range(p.n_agents):
        mean += s.effort[b, a] / p.n_agents
    for a in range(p.n_agents):
        obs[b, a, obs_.time_left] = 1.0 - s.t[b] / p.horizon
        obs[b, a, obs_.stock] = s.stock[b] / p.whole
        obs[b, a, obs_.last_effort] = s.effort[b, a]
        obs[b, a, obs_.mean_effort] = min(mean, MOST)


@rule
def measure(p, s, b, metrics):
    ticks = float(p.horizon)
    total, harvests, squares = 0.0, 0.0, 0.0
    for a in range(p.n_agents):
        total += s.rents[b, a] / ticks
        harvests += s.harvests[b, a]
        squares += float(s.harvests[b, a]) * s.harvests[b, a]
    for a in range(p.n_agents):
        metrics[b, a, metric_.rent] = s.rents[b, a] / ticks
        metrics[b, a, metric_.total_rent] = total
        metrics[b, a, metric_.rent_ratio] = total / p.best_rent
        metrics[b, a, metric_.harvest] = s.harvests[b, a] / (MICRO * ticks)
        metrics[b, a, metric_.effort] = min(s.efforts[b, a] / ticks, MOST)
        metrics[b, a, metric_.stock] = s.stocks[b] / ticks
        metrics[b, a, metric_.collapse] = 1.0 if 20 * s.stock[b] < p.whole else 0.0
        metrics[b, a, metric_.jain] = min(1.0, harvests * harvests / (p.n_agents * squares)) if squares > 0.0 else 1.0


@rule
def balance(p, s, b, residual):
    """x' = x + growth - harvest; the harvests add up; nobody takes what is not there."""
    taken = 0
    for a in range(p.n_agents):
        taken += s.harvest[b, a]
    residual[b, 0] = s.stock[b] - s.opened[b] - s.grown[b] + s.taken[b]
    residual[b, 1] = s.taken[b] - taken
    residual[b, 2] = max(0, s.taken[b] - s.opened[b]) + max(0, -s.stock[b])


def constant(effort: Any) -> Any:
    """The baseline that always takes `effort(params)`."""

    def act(p: CommonsParams, obs: F4, generator: np.random.Generator) -> F8:
        return np.full((len(obs), 1), effort(p))

    return act


def known(p: CommonsParams) -> dict[str, float]:
    """Long-run rents ($ a tick) and efforts (in equal splits of the open-access effort) at Nash and at the optimum; in mode steady.

    Under the metrics' names they are those at Nash, which is where users come who learn for themselves.
    """
    if p.mode != "steady":
        return {}
    ratio = theory.nash_rent_ratio(p.n_agents)
    effort, rent = theory.nash_effort(p.n_agents, **p.fishery) / p.unit, ratio * p.best_rent / p.n_agents
    return {
        "effort": effort,
        "rent": rent,
        "rent_ratio": ratio,
        "nash_effort": effort,
        "nash_rent": rent,
        "nash_rent_ratio": ratio,
        "optimal_effort": 0.5,
        "optimal_rent": p.best_rent / p.n_agents,
    }


def together(p: CommonsParams) -> dict[str, float]:
    """The optimum of all users, which is theirs who share the rents; in mode steady."""
    return {"effort": 0.5, "rent": p.best_rent / p.n_agents, "rent_ratio": 1.0} if p.mode == "steady" else {}


def action_grid(p: CommonsParams) -> Mapping[str, npt.NDArray[Any]]:
    """11 equal steps of effort, [11, 1]."""
    return {"user": np.linspace(0.0, MOST, 11)[:, None]}


LONG_RUN: dict[str, Any] = {"mode": "steady", "horizon": 1}

COMMONS = Game(
    "commons",
    version=0,
    params=CommonsParams,
    state=CommonsState,
    roles=lambda p: (Role("user", p.n_agents, OBSERVATION, ACTION),),
    begin=begin,
    step=step,
    observe=observe,
    measure=measure,
    metrics=METRICS,
    reward=REWARD,
    cost=COST,
    balance=balance,
    audit=AUDIT,
    baselines={
        "idle": constant(lambda p: 0.0),
        "open_access": constant(lambda p: 1.0),
        "nash": constant(lambda p: p.n_agents / (p.n_agents + 1)),
        "optimal": constant(lambda p: 0.5),
    },
    naive="open_access",
    below=True,
    unscaled={"user.effort": "the reference is what is best for all, and whoever takes more than that alone gains"},
    reference=lambda p: "optimal",
    known=known,
    together=together,
    action_grid=action_grid,
    picture=Picture("envs.resource_allocation.page:commons"),
    presets={
        "steady_two": {**LONG_RUN, "n_agents": 2},
        "steady_five": {**LONG_RUN, "n_agents": 5},
        "steady_ten": {**LONG_RUN, "n_agents": 10},
        "noisy": {"noise": 0.5},
    },
    citation="Gordon 1954, The economic theory of a common-property resource: the fishery; Schaefer 1957",
)
