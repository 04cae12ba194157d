"""Payday: every agent earns 10 (a + 1) + t at tick t, whatever it does. A game whose returns are known by hand.

With `leave`, the last agent leaves at the end of that tick of every episode. What stands in its rows afterwards is `ghost`,
which no rule of the contract allows: it shows in whatever reads a row that nobody acted in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from marl.compiled import rule
from marl.game import F8, RUNNING, TERMINATED, TRUNCATED, Column, Component, Game, Role, array, inf
from marl.params import Params, choice, param


@dataclass(frozen=True)
class PaydayParams(Params):
    n_agents: int = param(3, 1, 128, "agents")
    horizon: int = param(4, 1, 100_000, "ticks")
    end: str = choice("terminated", ("terminated", "truncated"))
    leave: int = param(0, 0, 100_000, "ticks, 0: never")
    ghost: float = param(0.0, -1e9, 1e9, "$")


OBSERVATION = {"who": Column(0, 1, "share of the agents"), "time_left": Column(0, 1, "share of horizon")}
ACTION = {"effort": Column(-1, 1, "")}


class PaydayState(NamedTuple):
    paid: F8 = array("agents")  # [B, A] $, this episode


@rule
def begin(p, s, b):
    for a in range(p.n_agents):
        s.paid[b, a] = 0.0


@rule
def step(p, s, b, action, components, cost):
    for a in range(p.n_agents):
        away = p.leave > 0 and a == p.n_agents - 1 and s.t[b] >= p.leave
        components[b, a, 0] = p.ghost if away else 10.0 * (a + 1) + s.t[b]
        s.paid[b, a] += 0.0 if away else components[b, a, 0]
        cost[b, a, 0] = 0.5 * s.t[b]
    if s.t[b] + 1 < p.horizon:
        return RUNNING
    return TERMINATED if p.end == 0 else TRUNCATED


@rule
def observe(p, s, b, obs):
    for a in range(p.n_agents):
        obs[b, a, 0] = (a + 1.0) / p.n_agents
        obs[b, a, 1] = 1.0 - s.t[b] / p.horizon


@rule
def measure(p, s, b, metrics):
    for a in range(p.n_agents):
        metrics[b, a, 0] = s.paid[b, a]


@rule
def living(p, s, b, alive):
    alive[b, p.n_agents - 1] = p.leave == 0 or s.t[b] < p.leave


PAYDAY = Game(
    name="payday",
    version=0,
    params=PaydayParams,
    state=PaydayState,
    roles=lambda p: (Role("worker", p.n_agents, OBSERVATION, ACTION),),
    begin=begin,
    step=step,
    observe=observe,
    measure=measure,
    metrics={"paid": Column(0, inf, "$")},
    reward={"pay": Component(1.0, "$")},
    cost={"hours": Column(0, inf, "h")},
    living=living,
)
