"""Aim: every agent sees a number x in [0, 1] and loses (a - x)^2, once. The best return is 0, with a = x."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from marl.compiled import rule
from marl.game import F8, TERMINATED, Column, Game, Role, array
from marl.params import Params, param
from marl.rng import uniform


@dataclass(frozen=True)
class AimParams(Params):
    n_agents: int = param(2, 1, 128, "agents")
    offset: float = param(0.0, 0.0, 1e6, "of what is shown of x")


class AimState(NamedTuple):
    x: F8 = array("agents")  # [B, A]
    missed: F8 = array("agents")  # [B, A]


@rule
def begin(p, s, b):
    for a in range(p.n_agents):
        s.x[b, a] = uniform(s, b, 0, a)
        s.missed[b, a] = 0.0


@rule
def step(p, s, b, action, components, cost):
    for a in range(p.n_agents):
        off = action[b, a, 0] - s.x[b, a]
        components[b, a, 0] = -off * off
        s.missed[b, a] = abs(off)
    return TERMINATED


@rule
def observe(p, s, b, obs):
    for a in range(p.n_agents):
        obs[b, a, 0] = p.offset + s.x[b, a]


@rule
def measure(p, s, b, metrics):
    for a in range(p.n_agents):
        metrics[b, a, 0] = s.missed[b, a]


AIM = Game(
    name="aim",
    version=0,
    params=AimParams,
    state=AimState,
    roles=lambda p: (Role("archer", p.n_agents, {"x": Column(p.offset, p.offset + 1.0)}, {"a": Column(0, 1)}),),
    begin=begin,
    step=step,
    observe=observe,
    measure=measure,
    metrics={"missed": Column(0, 1)},
    action_grid=lambda p: {"archer": np.linspace(0.0, 1.0, 11)[:, None]},
)
