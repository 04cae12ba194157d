"""Gamble: at the first tick a player bets or does not; the third tick pays 1 for not, and for a bet 3 with 4 chances in 5, else -2.

By hand. In the mean a bet is worth 3 (4/5) - 2 (1/5) = 2, not betting 1: bet. In the worst quarter of its episodes a bet is
worth (-2 (1/5) + 3 (1/4 - 1/5)) / (1/4) = -1, not betting 1: do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from marl.compiled import rule
from marl.game import F8, I8, RUNNING, TERMINATED, Column, Discrete, Game, Role, array
from marl.params import Params, param
from marl.rng import uniform

BETS, SAFE = 2.0, 1.0
"""Mean return of a player who always bets, and of one who never does."""


@dataclass(frozen=True)
class GambleParams(Params):
    n_agents: int = param(2, 1, 128, "agents")


class GambleState(NamedTuple):
    bet: I8 = array("agents")  # [B, A]
    won: F8 = array("agents")  # [B, A] points


@rule
def begin(p, s, b):
    for a in range(p.n_agents):
        s.bet[b, a] = 0
        s.won[b, a] = 0.0


@rule
def step(p, s, b, action, components, cost):
    for a in range(p.n_agents):
        if s.t[b] == 0:
            s.bet[b, a] = int(action[b, a, 0])
        if s.t[b] == 2:
            s.won[b, a] = 1.0 if s.bet[b, a] == 0 else 3.0 if uniform(s, b, 0, a) < 0.8 else -2.0
            components[b, a, 0] = s.won[b, a]
    return RUNNING if s.t[b] < 2 else TERMINATED


@rule
def observe(p, s, b, obs):
    for a in range(p.n_agents):
        obs[b, a, 0] = s.t[b] / 2.0
        obs[b, a, 1] = s.bet[b, a]


@rule
def measure(p, s, b, metrics):
    for a in range(p.n_agents):
        metrics[b, a, 0] = s.bet[b, a]


GAMBLE = Game(
    name="gamble",
    version=0,
    params=GambleParams,
    state=GambleState,
    roles=lambda p: (Role("player", p.n_agents, {"tick": Column(0, 1), "bet": Column(0, 1)}, {"bet": Discrete(2)}),),
    begin=begin,
    step=step,
    observe=observe,
    measure=measure,
    metrics={"bet": Column(0, 1)},
)
