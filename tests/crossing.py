"""Crossing: two drivers go or wait, once (the game of chicken, Rapoport and Chammah 1966). A toy of one discrete column, without chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from marl.compiled import rule
from marl.game import I8, TERMINATED, Column, Discrete, Game, Role, array, inf
from marl.params import Params, param


@dataclass(frozen=True)
class CrossingParams(Params):
    crash: float = param(-10.0, -1e6, 0.0, "points")


class CrossingState(NamedTuple):
    crashes: I8 = array()  # [B] in this episode


@rule
def begin(p, s, b):
    s.crashes[b] = 0


@rule
def step(p, s, b, action, components, cost):
    both = action[b, 0, 0] == 1.0 and action[b, 1, 0] == 1.0
    s.crashes[b] += 1 if both else 0
    for a in range(2):
        mine, other = action[b, a, 0], action[b, 1 - a, 0]
        components[b, a, 0] = p.crash if both else mine - other
    return TERMINATED


@rule
def observe(p, s, b, obs):
    for a in range(2):
        obs[b, a, 0] = 1.0


@rule
def measure(p, s, b, metrics):
    for a in range(2):
        metrics[b, a, 0] = s.crashes[b]


CROSSING = Game(
    name="crossing",
    version=0,
    params=CrossingParams,
    state=CrossingState,
    roles=lambda p: (Role("driver", 2, {"here": Column(0, 1)}, {"move": Discrete(2, ("wait", "go"))}),),
    begin=begin,
    step=step,
    observe=observe,
    measure=measure,
    metrics={"crashes": Column(0, inf, "crashes")},
)
