"""Commons: agents harvest a stock that regrows logistically (Gordon 1954; Schaefer 1957). The toy of the tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from marl.compiled import rule
from marl.game import F8, RUNNING, TERMINATED, Column, Component, Game, Role, array, index, inf
from marl.params import Params, derived, param
from marl.rng import uniform


@dataclass(frozen=True)
class CommonsParams(Params):
    n_agents: int = param(4, 1, 128, "agents")
    horizon: int = param(100, 1, 100_000, "ticks")
    capacity: float = param(100.0, 1e-6, 1e9, "units")
    growth: float = param(0.25, 0.0, 4.0, "1/tick")
    noise: float = param(0.1, 0.0, 1.0, "share of growth")

    @derived
    def split(self) -> float:
        return 1.0 / self.n_agents


OBSERVATION = {"stock": Column(0, 1, "share of capacity"), "time_left": Column(0, 1, "share of horizon")}
ACTION = {"harvest": Column(0, 1, "share of an equal split")}
METRICS = {"harvested": Column(0, inf, "units")}
REWARD = {"harvest": Component(1.0, "units"), "waste": Component(0.0, "units")}
obs_ = index(OBSERVATION)
NOISE = 0


class CommonsState(NamedTuple):
    stock: F8 = array()  # [B] units
    harvested: F8 = array("agents")  # [B, A] units, this episode
    grown: F8 = array()  # [B] units, this episode


@rule
def begin(p, s, b):
    s.stock[b] = p.capacity
    s.grown[b] = 0.0
    for a in range(p.n_agents):
        s.harvested[b, a] = 0.0


@rule
def step(p, s, b, action, components, cost):
    before = s.stock[b]
    for a in range(p.n_agents):
        taken = action[b, a, 0] * before * p.split
        components[b, a, 0] = taken
        components[b, a, 1] = -0.5 * taken
        cost[b, a, 0] = taken
        s.stock[b] -= taken
        s.harvested[b, a] += taken
    wobble = 1.0 + p.noise * (2.0 * uniform(s, b, NOISE, 0) - 1.0)
    left = max(s.stock[b], 0.0)
    growth = min(p.growth * wobble * left * (1.0 - left / p.capacity), p.capacity - left)
    s.grown[b] += growth
    s.stock[b] = left + growth
    return TERMINATED if s.t[b] + 1 >= p.horizon else RUNNING


@rule
def observe(p, s, b, obs):
    for a in range(p.n_agents):
        obs[b, a, obs_.stock] = s.stock[b] / p.capacity
        obs[b, a, obs_.time_left] = 1.0 - s.t[b] / p.horizon


@rule
def measure(p, s, b, metrics):
    for a in range(p.n_agents):
        metrics[b, a, 0] = s.harvested[b, a]


COMMONS = Game(
    name="commons",
    version=0,
    params=CommonsParams,
    state=CommonsState,
    roles=lambda p: (Role("harvester", p.n_agents, OBSERVATION, ACTION),),
    begin=begin,
    step=step,
    observe=observe,
    measure=measure,
    metrics=METRICS,
    reward=REWARD,
    cost={"depletion": Column(0, inf, "units")},
    action_grid=lambda p: {"harvester": np.linspace(0.0, 1.0, 5)[:, None]},
)
