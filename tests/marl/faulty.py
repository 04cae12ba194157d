"""A pond whose rules break the contract on demand: `fault` names how. One compilation serves all faults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import get_num_threads, get_thread_id

from marl.compiled import rule
from marl.game import B1, F8, I8, RUNNING, TERMINATED, TRUNCATED, Column, Component, Discrete, Game, Role, array, index, inf
from marl.params import Params, choice, derived, param
from marl.rng import uniform

FAULTS = (
    "none", "still", "obs_range", "obs_nan", "padding", "metric_nan", "metric_range", "cost_range", "state_range", "component_nan",
    "reward_overflow", "mint", "mint_when_hostile", "tick", "key", "own_chance", "neighbour", "thread", "no_choice", "comes_back",
    "paid_after", "all_left", "observed_cut", "endless", "leftover", "hidden_leftover",
)  # fmt: skip
fault_ = index(dict.fromkeys(FAULTS))
get_num_threads()  # starts the threads: compiled code from the cache calls into them without, and crashes


@dataclass(frozen=True)
class PondParams(Params):
    fault: str = choice("none", FAULTS)
    n_fishers: int = param(2, 1, 16, "agents")
    horizon: int = param(12, 1, 1000, "ticks")

    @derived
    def agents(self) -> int:
        return self.n_fishers + 1


FISHER_SEES = {"level": Column(0, 1), "time_left": Column(0, 1), "purse": Column(0, inf, "cents")}
FISHER_DOES = {"effort": Column(0, 1), "gear": Discrete(3)}
GUARD_SEES, GUARD_DOES = {"level": Column(0, 1)}, {"alarm": Discrete(2)}
CATCH, REGROW = 0, 1


class PondState(NamedTuple):
    level: F8 = array()  # [B] share of capacity
    purse: I8 = array("agents")  # [B, A] cents
    bank: I8 = array()  # [B] cents, minus all purses
    gone: B1 = array("agents")  # [B, A]
    scratch: F8 = array()  # [B] what an earlier episode left


@rule
def begin(p, s, b):
    if p.fault != fault_.leftover:
        s.level[b] = 1.0
    if p.fault != fault_.hidden_leftover:
        s.scratch[b] = 0.0
    s.bank[b] = 0
    for a in range(p.agents):
        s.purse[b, a], s.gone[b, a] = 0, False
    if p.fault == fault_.key:
        s.key[b] = 7


@rule
def step(p, s, b, action, components, cost):
    for a in range(p.n_fishers):
        fish(p, s, b, a, action, components)
        cost[b, a, 0] = -1.0 if p.fault == fault_.cost_range else action[b, a, 0]
    chance = uniform(s, b, REGROW, 0)
    if p.fault == fault_.own_chance:
        chance = np.random.random()
    if p.fault == fault_.still:
        chance = 0.5
    if p.fault == fault_.neighbour:
        chance = s.level[0]
    if p.fault == fault_.thread:
        chance = 0.25 * (1 + get_thread_id())
    if p.fault == fault_.hidden_leftover:
        chance = s.scratch[b]
        s.scratch[b] = 0.9
    s.level[b] = min(1.0, s.level[b] * (1.0 + 0.2 * chance) + 0.01)
    if p.fault == fault_.tick:
        s.t[b] += 1
    over = s.t[b] + 1 >= p.horizon and p.fault != fault_.endless
    return RUNNING if not over else TRUNCATED if p.fault == fault_.observed_cut else TERMINATED


@rule
def fish(p, s, b, a, action, components):
    if s.gone[b, a]:
        components[b, a, 0] = 1.0 if p.fault == fault_.paid_after else 0.0
        return
    luck = 1.0 if p.fault == fault_.still else uniform(s, b, CATCH, a)
    taken = 0.6 * s.level[b] * action[b, a, 0] * luck * (1.0 + 0.1 * action[b, a, 1])
    s.level[b] = max(s.level[b] - taken, 0.0)
    pay = int(100.0 * taken)
    s.purse[b, a] += pay
    minted = p.fault == fault_.mint or (p.fault == fault_.mint_when_hostile and action[b, a, 0] == 1.0)
    s.bank[b] -= 0 if minted else pay
    components[b, a, 0] = taken
    components[b, a, 1] = action[b, a, 0]
    if p.fault == fault_.component_nan:
        components[b, a, 1] = np.nan
    if p.fault == fault_.reward_overflow:
        components[b, a, 0] = 1e300
    s.gone[b, a] = s.t[b] >= 5 and a == 0 and p.n_fishers > 1


@rule
def observe(p, s, b, obs):
    for a in range(p.n_fishers):
        obs[b, a, 0] = s.level[b]
        obs[b, a, 1] = 1.0 - min(s.t[b] / p.horizon, 1.0)
        obs[b, a, 2] = s.purse[b, a]
        if p.fault == fault_.obs_range:
            obs[b, a, 0] = 1.0 + 0.001 * s.t[b]
        if p.fault == fault_.obs_nan and s.t[b] == 7:
            obs[b, a, 2] = np.nan
    obs[b, p.n_fishers, 0] = s.level[b]
    if p.fault == fault_.padding:
        obs[b, p.n_fishers, 2] = 1.0


@rule
def measure(p, s, b, metrics):
    for a in range(p.agents):
        metrics[b, a, 0] = s.purse[b, a]
        if p.fault == fault_.metric_nan:
            metrics[b, a, 0] = np.nan
        if p.fault == fault_.metric_range:
            metrics[b, a, 0] = -1.0


@rule
def mask(p, s, b, legal):
    for a in range(p.n_fishers):
        legal[b, a, 2] = s.level[b] > 0.5
        if p.fault == fault_.no_choice and s.t[b] == 3:
            for k in range(3):
                legal[b, a, k] = False


@rule
def living(p, s, b, alive):
    for a in range(p.n_fishers):
        alive[b, a] = not s.gone[b, a]
        if p.fault == fault_.comes_back and s.t[b] == 9:
            alive[b, a] = True
    if p.fault == fault_.all_left and s.t[b] >= 6:
        for a in range(p.agents):
            alive[b, a] = False


@rule
def overview(p, s, b, state):
    state[b, 0] = 2.0 if p.fault == fault_.state_range else s.level[b]


@rule
def balance(p, s, b, residual):
    total = s.bank[b]
    for a in range(p.agents):
        total += s.purse[b, a]
    residual[b, 0] = total


POND = Game(
    name="pond",
    version=0,
    params=PondParams,
    state=PondState,
    roles=lambda p: (Role("fisher", p.n_fishers, FISHER_SEES, FISHER_DOES), Role("guard", 1, GUARD_SEES, GUARD_DOES)),
    begin=begin,
    step=step,
    observe=observe,
    measure=measure,
    metrics={"purse": Column(0, inf, "cents")},
    reward={"catch": Component(1.0), "effort": Component(-0.1)},
    cost={"effort": Column(0, 1)},
    mask=mask,
    living=living,
    overview=overview,
    state_table={"level": Column(0, 1)},
    balance=balance,
    audit=("cash",),
)
