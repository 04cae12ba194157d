"""Haste: an agent that sees x, uniform on [0, 1], earns x a by a haste a in [0, 1] and risks a^2, a tick. A constrained problem.

Best with a mean risk of d a tick: maximise E[x a] - m (E[a^2] - d), so a = x / (2 m), and E[a^2] = E[x^2] / (4 m^2) = d. With
E[x^2] = 1/3 that is m = 1 / sqrt(12 d), a = x sqrt(3 d) (below 1 while d < 1/3) and E[x a] = sqrt(d / 3), per tick.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

from marl.compiled import rule
from marl.game import F8, RUNNING, TERMINATED, Column, Game, Role, array
from marl.params import Params, param
from marl.rng import uniform


@dataclass(frozen=True)
class HasteParams(Params):
    n_agents: int = param(2, 1, 128, "agents")
    horizon: int = param(4, 1, 1_000, "ticks")


class HasteState(NamedTuple):
    x: F8 = array("agents")  # [B, A]
    haste: F8 = array("agents")  # [B, A] summed over the episode


def best(limit: float, horizon: int) -> tuple[float, float]:
    """(return of an episode, multiplier) of the best policy whose episodes risk `limit` in the mean."""
    d = limit / horizon
    return horizon * sqrt(d / 3.0), 1.0 / sqrt(12.0 * d)


@rule
def look(p, s, b, t):
    for a in range(p.n_agents):
        s.x[b, a] = uniform(s, b, 0, t * p.n_agents + a)


@rule
def begin(p, s, b):
    look(p, s, b, 0)
    for a in range(p.n_agents):
        s.haste[b, a] = 0.0


@rule
def step(p, s, b, action, components, cost):
    for a in range(p.n_agents):
        components[b, a, 0] = s.x[b, a] * action[b, a, 0]
        cost[b, a, 0] = action[b, a, 0] ** 2
        s.haste[b, a] += action[b, a, 0]
    look(p, s, b, s.t[b] + 1)
    return RUNNING if s.t[b] + 1 < p.horizon else TERMINATED


@rule
def observe(p, s, b, obs):
    for a in range(p.n_agents):
        obs[b, a, 0] = s.x[b, a]
        obs[b, a, 1] = 1.0 - s.t[b] / p.horizon


@rule
def measure(p, s, b, metrics):
    for a in range(p.n_agents):
        metrics[b, a, 0] = s.haste[b, a] / p.horizon


HASTE = Game(
    name="haste",
    version=0,
    params=HasteParams,
    state=HasteState,
    roles=lambda p: (Role("driver", p.n_agents, {"x": Column(0, 1), "time_left": Column(0, 1)}, {"haste": Column(0, 1)}),),
    begin=begin,
    step=step,
    observe=observe,
    measure=measure,
    metrics={"haste": Column(0, 1)},
    cost={"risk": Column(0, 1, "units")},
)
