"""Loan: an agent may take 1 in the first tick of an episode, and repays it, at no interest, in the last: a cost far from its choice.

With mean costs limited to d < 1, the best policy takes the loan with probability d, and a unit more of cost would earn 1: the
multiplier is 1 whatever the discount, for the choice is paid at once. The cost is due `horizon` - 1 ticks later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from marl.compiled import rule
from marl.game import F8, RUNNING, TERMINATED, TRUNCATED, Column, Discrete, Game, Role, array
from marl.params import Params, choice, param


@dataclass(frozen=True)
class LoanParams(Params):
    n_agents: int = param(1, 1, 128, "agents")
    horizon: int = param(20, 2, 1_000, "ticks")
    end: str = choice("terminated", ("terminated", "truncated"))


class LoanState(NamedTuple):
    owed: F8 = array("agents")  # [B, A] $


@rule
def begin(p, s, b):
    for a in range(p.n_agents):
        s.owed[b, a] = 0.0


@rule
def step(p, s, b, action, components, cost):
    last = s.t[b] + 1 == p.horizon
    for a in range(p.n_agents):
        if s.t[b] == 0:
            s.owed[b, a] = action[b, a, 0]
            components[b, a, 0] = action[b, a, 0]
        if last:
            cost[b, a, 0] = s.owed[b, a]
    if not last:
        return RUNNING
    return TERMINATED if p.end == 0 else TRUNCATED


@rule
def observe(p, s, b, obs):
    for a in range(p.n_agents):
        obs[b, a, 0] = s.owed[b, a]
        obs[b, a, 1] = 1.0 - s.t[b] / p.horizon


@rule
def measure(p, s, b, metrics):
    for a in range(p.n_agents):
        metrics[b, a, 0] = s.owed[b, a]


LOAN = Game(
    name="loan",
    version=0,
    params=LoanParams,
    state=LoanState,
    roles=lambda p: (Role("debtor", p.n_agents, {"owed": Column(0, 1, "$"), "time_left": Column(0, 1)}, {"takes": Discrete(2)}),),
    begin=begin,
    step=step,
    observe=observe,
    measure=measure,
    metrics={"owed": Column(0, 1, "$")},
    cost={"repaid": Column(0, 1, "$")},
)
