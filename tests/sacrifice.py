"""Sacrifice: every player who is there earns 1 in each of three ticks; if the first leaves at the first, the second earns 10 at the last.

The team has 6 where the first stays and 2 + 1 + 10 = 13 where it leaves. The first itself would earn 3 by staying and 1 by leaving.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from marl.compiled import rule
from marl.game import F8, I8, RUNNING, TERMINATED, Column, Discrete, Game, Role, array
from marl.params import Params, param

STAYS, LEAVES = 6.0, 13.0
"""What the team earns."""


@dataclass(frozen=True)
class SacrificeParams(Params):
    prize: float = param(10.0, 0.0, 1e6, "points")


class SacrificeState(NamedTuple):
    gone: I8 = array()  # [B] whether the first has left
    earned: F8 = array("agents")  # [B, A] points


@rule
def begin(p, s, b):
    s.gone[b] = 0
    for a in range(2):
        s.earned[b, a] = 0.0


@rule
def step(p, s, b, action, components, cost):
    for a in range(2):
        components[b, a, 0] = 0.0 if a == 0 and s.gone[b] == 1 else 1.0
    if s.gone[b] == 1 and s.t[b] == 2:
        components[b, 1, 0] = p.prize
    for a in range(2):
        s.earned[b, a] += components[b, a, 0]
    if s.t[b] == 0 and action[b, 0, 0] >= 0.5:
        s.gone[b] = 1
    return RUNNING if s.t[b] < 2 else TERMINATED


@rule
def observe(p, s, b, obs):
    for a in range(2):
        obs[b, a, 0] = a
        obs[b, a, 1] = s.t[b] / 2.0
        obs[b, a, 2] = s.gone[b]


@rule
def living(p, s, b, alive):
    if s.gone[b] == 1:
        alive[b, 0] = False


@rule
def measure(p, s, b, metrics):
    for a in range(2):
        metrics[b, a, 0] = s.earned[b, a]


SACRIFICE = Game(
    name="sacrifice",
    version=0,
    params=SacrificeParams,
    state=SacrificeState,
    roles=lambda p: (
        Role("player", 2, {"second": Column(0, 1), "tick": Column(0, 1), "gone": Column(0, 1)}, {"move": Discrete(2, ("stay", "leave"))}),
    ),
    begin=begin,
    step=step,
    observe=observe,
    measure=measure,
    living=living,
    metrics={"earned": Column(0, 1e6, "points")},
)
