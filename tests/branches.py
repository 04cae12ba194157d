"""Branches: the two-step game of QMIX (Rashid et al. 2018). The first agent's choice picks the branch of the second tick.

Branch 0 pays 7 whatever both do; branch 1 pays [[0, 1], [1, 8]] by both choices. Both agents get the payoff. A sum of
values per agent cannot represent branch 1 and must choose branch 0 (7); a monotonic mixture finds 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from marl.compiled import rule
from marl.game import F8, I8, RUNNING, TERMINATED, Column, Discrete, Game, Role, array
from marl.params import Params, param


@dataclass(frozen=True)
class BranchesParams(Params):
    safe: float = param(7.0, -1e6, 1e6, "points")
    masked: int = param(0, 0, 1, "whether choice 1 is illegal for the first agent at first")


class BranchesState(NamedTuple):
    at: I8 = array()  # [B] 0 at first, then 1 + branch
    paid: F8 = array()  # [B] points in this episode


@rule
def begin(p, s, b):
    s.at[b] = 0
    s.paid[b] = 0.0


@rule
def step(p, s, b, action, components, cost):
    first, second = action[b, 0, 0], action[b, 1, 0]
    if s.at[b] == 0:
        s.at[b] = 2 if first == 1.0 else 1
        return RUNNING
    pay = p.safe if s.at[b] == 1 else first + second + 6.0 * first * second
    s.paid[b] = pay
    components[b, 0, 0] = pay
    components[b, 1, 0] = pay
    return TERMINATED


@rule
def observe(p, s, b, obs):
    for a in range(2):
        for k in range(3):
            obs[b, a, k] = 1.0 if s.at[b] == k else 0.0
        obs[b, a, 3] = a


@rule
def mask(p, s, b, mask):
    if p.masked == 1 and s.at[b] == 0:
        mask[b, 0, 1] = False


@rule
def overview(p, s, b, state):
    for k in range(3):
        state[b, k] = 1.0 if s.at[b] == k else 0.0


@rule
def measure(p, s, b, metrics):
    for a in range(2):
        metrics[b, a, 0] = s.paid[b]


PLACES = {"first": Column(0, 1), "safe": Column(0, 1), "risky": Column(0, 1)}
BRANCHES = Game(
    name="branches",
    version=0,
    params=BranchesParams,
    state=BranchesState,
    roles=lambda p: (Role("player", 2, {**PLACES, "second": Column(0, 1)}, {"move": Discrete(2)}),),
    begin=begin,
    step=step,
    observe=observe,
    measure=measure,
    mask=mask,
    overview=overview,
    state_table=PLACES,
    metrics={"paid": Column(-1e6, 1e6, "points")},
)
