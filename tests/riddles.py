"""Riddles: what is best depends on what is seen, in the same tick or `delay` ticks before, and its worth is known.

Toys for learning masked and mixed columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from marl.compiled import rule
from marl.game import F8, I8, RUNNING, TERMINATED, Column, Discrete, Game, Role, array, inf
from marl.params import Params, param
from marl.rng import draw, stream

CHOICES = 4
SEEN, BANNED = 0, 1


@dataclass(frozen=True)
class RiddleParams(Params):
    n_agents: int = param(2, 1, 16, "agents")
    delay: int = param(0, 0, 100, "ticks", "from what a bargainer sees to its bargain; it sees nothing between")


class RiddleState(NamedTuple):
    x: F8 = array("agents")  # [B, A] what each sees, uniform on [0, 1]
    banned: I8 = array("agents")  # [B, A] the choice that each may not take
    won: F8 = array("agents")  # [B, A] points


@rule
def begin(p, s, b):
    seen, banned = stream(s, b, SEEN), stream(s, b, BANNED)
    for a in range(p.n_agents):
        s.x[b, a] = draw(seen, a)
        s.banned[b, a] = int(CHOICES * draw(banned, a))
        s.won[b, a] = 0.0


@rule
def observe(p, s, b, obs):
    for a in range(p.n_agents):
        obs[b, a, 0] = 2.0 * s.x[b, a] - 1.0 if s.t[b] == 0 else 0.0


@rule
def measure(p, s, b, metrics):
    for a in range(p.n_agents):
        metrics[b, a, 0] = s.won[b, a]


@rule
def shelf(p, s, b, action, components, cost):
    """Choice c is worth 1 - |x - (c + 1/2)/4|: the nearest shelf is best, the next one where it is banned."""
    for a in range(p.n_agents):
        s.won[b, a] = 1.0 - abs(s.x[b, a] - (action[b, a, 0] + 0.5) / CHOICES)
        components[b, a, 0] = s.won[b, a]
    return TERMINATED


@rule
def ban(p, s, b, legal):
    for a in range(p.n_agents):
        legal[b, a, s.banned[b, a]] = False


def best_shelf() -> float:
    """Mean worth of the best legal choice, over x and the banned choice: a mean over a fine grid of x."""
    x = (np.arange(100_000) + 0.5) / 100_000
    worth = np.sort(1.0 - np.abs(x[:, None] - (np.arange(CHOICES) + 0.5) / CHOICES), axis=1)
    return float((((CHOICES - 1) * worth[:, -1] + worth[:, -2]) / CHOICES).mean())


@rule
def bargain(p, s, b, action, components, cost):
    """Side 1 is worth x - (amount - x)^2, side 0 is worth 1 - x - (amount + x)^2: each has an amount of its own."""
    if s.t[b] < p.delay:
        return RUNNING
    for a in range(p.n_agents):
        x, side, amount = s.x[b, a], action[b, a, 0], action[b, a, 1]
        s.won[b, a] = x - (amount - x) ** 2 if side == 1.0 else 1.0 - x - (amount + x) ** 2
        components[b, a, 0] = s.won[b, a]
    return TERMINATED


BEST_BARGAIN = 0.75
"""E max(x, 1 - x)."""
BLIND_BARGAIN = 5 / 12
"""E x - E (1/2 - x)^2: the best of those who have not seen x."""


def _riddle(name, step, action, mask=None):
    return Game(
        name=name,
        version=0,
        params=RiddleParams,
        state=RiddleState,
        roles=lambda p: (Role("guesser", p.n_agents, {"x": Column(-1, 1)}, action),),
        begin=begin,
        step=step,
        observe=observe,
        measure=measure,
        mask=mask,
        metrics={"won": Column(-inf, inf, "points")},
    )


SHELF = _riddle("shelf", shelf, {"choice": Discrete(CHOICES)}, ban)
BARGAIN = _riddle("bargain", bargain, {"side": Discrete(2), "amount": Column(-1, 1)})
