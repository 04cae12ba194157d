"""Spread: agents cover as many landmarks without bumping into each other (simple_spread of Lowe et al. 2017).

Every agent earns (1 - local_ratio) x the team's coverage, less local_ratio x its own collisions. Coverage is minus the
sum over landmarks of the distance to the nearest agent. The time limit is not seen and truncates.

Published returns are on another scale. In the environment of 2017 rewards are neither weighed nor split, their sum over
agents counts, and every agent collides with itself in each tick. With S the sum of the agents' returns here, at
local_ratio 1/2: R = 2S - agents x ticks, 2S - 75 for three agents and 25 ticks. The metric `published_return` is R.

The conventions of a team's reward are weights: `coverage` and `collisions` are the agent's own part, `team` is the sum
of both over agents: {coverage: 0, collisions: 0, team: 1} is the team's sum, with team 1/n the team's mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

import numpy as np

from envs.classic.particles import KINDS, MOTIONS, glide, moves, push, scatter, towards
from marl.compiled import rule
from marl.game import F4, F8, I8, RUNNING, TRUNCATED, Column, Component, Game, Role, array, inf
from marl.params import Params, choice, param
from marl.rng import stream

REACH = 0.3
"""Distance of the centres at which two agents touch: their radii are .15."""

MARGIN = 0.001
"""Softness of a contact: penetration is MARGIN log(1 + exp((REACH - distance) / MARGIN))."""

CONTACT = 100.0
"""Force per penetration."""

FELT = 0.34
"""Distance from which a contact is none: the force there would be below 1e-18."""

NEAR = 0.1
"""A landmark with an agent this near is covered, in the metric."""

PLACES = 0
HEARD = 2
"""Width of a message. Nobody speaks, so that these columns are 0; the original has them."""


@dataclass(frozen=True)
class SpreadParams(Params):
    n_agents: int = param(3, 1, 64, "agents", "and as many landmarks")
    local_ratio: float = param(0.5, 0.0, 1.0, "weight of the own collisions")
    horizon: int = param(25, 1, 100_000, "ticks")
    actions: str = choice("discrete", KINDS)
    motion: str = choice("mpe2", MOTIONS, "whether a push moves a particle in the same tick")
    messages: bool = param(True, 0, 1, "", "whether the columns of messages are shown, which are always 0")


class SpreadState(NamedTuple):
    place: F8 = array("agents", 2)  # [B, A, 2]
    speed: F8 = array("agents", 2)  # [B, A, 2] per second
    landmark: F8 = array("agents", 2)  # [B, A, 2]
    force: F8 = array("agents", 2)  # [B, A, 2] of this tick
    bumps: I8 = array("agents")  # [B, A] other agents that the agent touches now
    bumped: I8 = array("agents")  # [B, A] the same, summed over the episode
    apart: F8 = array()  # [B] sum over landmarks of the distance to the nearest agent, now
    missed: F8 = array()  # [B] the same, summed over the episode
    covered: I8 = array()  # [B] landmarks that are covered now


@rule
def begin(p, s, b):
    numbers = stream(s, b, PLACES)
    scatter(s.place, b, p.n_agents, numbers, 0)
    scatter(s.landmark, b, p.n_agents, numbers, 2 * p.n_agents)
    s.apart[b] = s.missed[b] = 0.0
    s.covered[b] = 0
    for a in range(p.n_agents):
        s.speed[b, a, 0] = s.speed[b, a, 1] = s.force[b, a, 0] = s.force[b, a, 1] = 0.0
        s.bumps[b, a] = s.bumped[b, a] = 0


@rule
def contacts(p, s, b):
    """Add the forces of touching agents to both."""
    for i in range(p.n_agents):
        for j in range(i + 1, p.n_agents):
            x, y = s.place[b, i, 0] - s.place[b, j, 0], s.place[b, i, 1] - s.place[b, j, 1]
            square = x * x + y * y
            if 0.0 < square < FELT * FELT:
                distance = math.sqrt(square)
                deep = (REACH - distance) / MARGIN
                penetration = MARGIN * (max(deep, 0.0) + math.log1p(math.exp(-abs(deep))))
                strength = CONTACT * penetration / distance
                s.force[b, i, 0] += strength * x
                s.force[b, i, 1] += strength * y
                s.force[b, j, 0] -= strength * x
                s.force[b, j, 1] -= strength * y


@rule
def cover(p, s, b):
    """Set apart and covered."""
    s.apart[b] = 0.0
    s.covered[b] = 0
    for k in range(p.n_agents):
        least = inf
        for a in range(p.n_agents):
            x, y = s.place[b, a, 0] - s.landmark[b, k, 0], s.place[b, a, 1] - s.landmark[b, k, 1]
            least = min(least, x * x + y * y)
        s.apart[b] += math.sqrt(least)
        s.covered[b] += 1 if least < NEAR * NEAR else 0


@rule
def bump(p, s, b):
    """Set bumps; returns their sum."""
    total = 0
    for a in range(p.n_agents):
        s.bumps[b, a] = 0
    for i in range(p.n_agents):
        for j in range(i + 1, p.n_agents):
            x, y = s.place[b, i, 0] - s.place[b, j, 0], s.place[b, i, 1] - s.place[b, j, 1]
            if math.sqrt(x * x + y * y) < REACH:
                s.bumps[b, i] += 1
                s.bumps[b, j] += 1
                total += 2
    return total


@rule
def step(p, s, b, action, components, cost):
    for a in range(p.n_agents):
        for axis in range(2):
            s.force[b, a, axis] = push(action, b, a, p.actions, axis)
    contacts(p, s, b)
    for a in range(p.n_agents):
        for axis in range(2):
            glide(s.place, s.speed, b, a, axis, s.force[b, a, axis], p.motion)
    cover(p, s, b)
    total = bump(p, s, b)
    s.missed[b] += s.apart[b]
    for a in range(p.n_agents):
        s.bumped[b, a] += s.bumps[b, a]
        components[b, a, 0] = -(1.0 - p.local_ratio) * s.apart[b]
        components[b, a, 1] = -p.local_ratio * s.bumps[b, a]
        components[b, a, 2] = -(1.0 - p.local_ratio) * s.apart[b] * p.n_agents - p.local_ratio * total
    return TRUNCATED if s.t[b] + 1 >= p.horizon else RUNNING


@rule
def observe(p, s, b, obs):
    n = p.n_agents
    for a in range(n):
        x, y = s.place[b, a, 0], s.place[b, a, 1]
        obs[b, a, 0], obs[b, a, 1], obs[b, a, 2], obs[b, a, 3] = s.speed[b, a, 0], s.speed[b, a, 1], x, y
        c = 4
        for k in range(n):
            obs[b, a, c], obs[b, a, c + 1] = s.landmark[b, k, 0] - x, s.landmark[b, k, 1] - y
            c += 2
        for i in range(n):
            if i != a:
                obs[b, a, c], obs[b, a, c + 1] = s.place[b, i, 0] - x, s.place[b, i, 1] - y
                c += 2
        if p.messages:
            for m in range(c, c + HEARD * (n - 1)):
                obs[b, a, m] = 0.0


@rule
def measure(p, s, b, metrics):
    n, total = p.n_agents, 0
    for a in range(n):
        total += s.bumped[b, a]
    for a in range(n):
        metrics[b, a, 0] = -n * s.missed[b] - total - n * s.t[b]
        metrics[b, a, 1] = s.missed[b] / (n * s.t[b])
        metrics[b, a, 2] = s.bumped[b, a] / s.t[b]
        metrics[b, a, 3] = s.covered[b] / n


METRICS = {
    "published_return": Column(-inf, 0, "the team's return on the scale of 2017"),
    "distance": Column(0, inf, "mean over landmarks and ticks, to the nearest agent"),
    "collisions": Column(0, inf, "others that the agent touches, a tick"),
    "covered": Column(0, 1, "share of the landmarks at the end"),
}
REWARD = {
    "coverage": Component(1.0, "half-widths"),
    "collisions": Component(1.0, "collisions"),
    "team": Component(0.0, "sum over agents of the other two"),
}


def roles(p: SpreadParams) -> tuple[Role, ...]:
    """Own speed and place, the way to each landmark and to each other agent, and messages, which are 0."""
    others = range(p.n_agents - 1)
    pairs = ["speed", "own", *(f"landmark_{k}" for k in range(p.n_agents)), *(f"other_{i}" for i in others)]
    seen = {f"{name}_{axis}": Column(-inf, inf, "half-widths") for name in pairs for axis in "xy"}
    if p.messages:
        seen |= {f"heard_{i}_{m}": Column(0, 1) for i in others for m in range(HEARD)}
    return (Role("agent", p.n_agents, seen, moves(p.actions)),)


LARGEST = 6
"""Agents up to which all assignments are compared."""


def assignment(p: SpreadParams, obs: F4, generator: np.random.Generator) -> F8:
    """Agents go to the landmarks of the assignment with the least sum of distances; beyond six, each to the nearest landmark."""
    n, rows = p.n_agents, np.arange(len(obs))
    ways = obs[:, 4 : 4 + 4 * n - 2].astype(np.float64).reshape(len(obs), 2 * n - 1, 2)
    landmarks, others = ways[:, :n], ways[:, n:]
    agents = np.concatenate([np.zeros((len(obs), 1, 2)), others], 1)
    distance = np.linalg.norm(agents[:, :, None] - landmarks[:, None], axis=3)
    if n > LARGEST:
        goal = distance[:, 0].argmin(1)
    else:
        orders = np.array(list(permutations(range(n))))
        goal = orders[distance[:, np.arange(n), orders].sum(2).argmin(1), 0]
    return towards(p.actions, obs[:, :2].astype(np.float64), landmarks[rows, goal])


SPREAD = Game(
    "spread",
    version=0,
    params=SpreadParams,
    state=SpreadState,
    roles=roles,
    begin=begin,
    step=step,
    observe=observe,
    measure=measure,
    metrics=METRICS,
    reward=REWARD,
    baselines={"assignment": assignment},
    reference=lambda p: "assignment",
    presets={"simple_spread_v3": {}, "lean": {"messages": False}},
    citation="Lowe et al. 2017, Multi-agent actor-critic for mixed cooperative-competitive environments",
)
